#include "runtime/served_model.h"

#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using ::testing::Each;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

constexpr int64_t kWidth = 24;

// softmax(x w) and x w, both with rows of their own; x may have another type at the border.
std::shared_ptr<const CompiledModel> RowModel(DataType border = DataType::kFloat32,
                                              bool batchable = true, int64_t rows_per_run = 0) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {batchable ? kUnknownDim : 2, kWidth}, border);
  const ValueId product =
      builder.Apply("MatMul", "product", {x, builder.Constant("w", RandomFloats({kWidth, 10}, 1))});
  builder.Output(builder.Apply("Softmax", "softmax", {product}), "p", border);
  builder.Output(product, "y");
  GraphBuilder::Finished finished = builder.Finish();
  EXPECT_EQ(finished.batchable, batchable);
  ServedModelParts parts{
      .inputs = {{"x", border, {batchable ? kUnknownDim : 2, kWidth}}},
      .outputs = {{"p", border, {batchable ? kUnknownDim : 2, 10}},
                  {"y", DataType::kFloat32, {batchable ? kUnknownDim : 2, 10}}},
      .batchable = batchable,
      .batch_sizes = batchable ? std::vector<int64_t>{1, 2, 4, 8} : std::vector<int64_t>{1},
      .rows_per_run = RowsPerRun(rows_per_run, std::vector<Shape>{{1, kWidth}}),
      .float32_weight_bytes = kWidth * 10 * 4,
      .plans = std::make_unique<ModelPlans>(std::move(finished.graph), nullptr)};
  return MakeServedModel(std::move(parts));
}

// A caller with bytes of its own.
struct Caller {
  explicit Caller(const Tensor& tensor) : tensor(tensor) {
    rows.rows = tensor.shape()[0];
    rows.inputs.push_back({.shape = tensor.shape(), .pieces = {Bytes()}});
  }
  std::span<const std::byte> Bytes() const { return {tensor.data(), tensor.byte_size()}; }

  Tensor tensor;
  InputRows rows;
};

template <typename T = float>
std::vector<T> Result(const ExecutionContext& context, int output, int caller) {
  std::vector<T> values(static_cast<size_t>(ElementCount(context.OutputShape(output, caller))));
  context.Store(output, caller, std::as_writable_bytes(std::span(values)));
  return values;
}

absl::Status Load(ExecutionContext& context, const std::vector<const Caller*>& callers) {
  std::vector<const InputRows*> rows;
  rows.reserve(callers.size());
  for (const Caller* caller : callers) rows.push_back(&caller->rows);
  return context.Load(rows);
}

class ServedRows : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(RowsPerRun, ServedRows, ::testing::Values(0, 1, 2, 4, 8));

TEST_P(ServedRows, CallersGetTheirOwnRowsWhoeverSharesTheBatch) {
  const auto model = RowModel(DataType::kFloat32, true, GetParam());
  const auto together = *model->NewContext();
  const auto alone = *model->NewContext();
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    std::vector<Caller> callers;
    for (size_t i = 1 + random() % 4; i-- > 0;) {
      const auto rows = static_cast<int64_t>(1 + random() % 3);
      callers.emplace_back(RandomFloats({rows, kWidth}, random(), i == 0 ? 100 : 1));
    }
    std::vector<const Caller*> pointers;
    pointers.reserve(callers.size());
    for (const Caller& caller : callers) pointers.push_back(&caller);
    ASSERT_TRUE(Load(*together, pointers).ok());
    ASSERT_TRUE(together->Execute().ok());
    for (size_t i = 0; i < callers.size(); ++i) {
      ASSERT_TRUE(Load(*alone, {&callers[i]}).ok());
      ASSERT_TRUE(alone->Execute().ok());
      const int caller = static_cast<int>(i);
      EXPECT_EQ(together->OutputShape(1, caller), Shape({callers[i].rows.rows, 10}));
      for (const int output : {0, 1}) {
        EXPECT_THAT(Result(*together, output, caller),
                    ::testing::Pointwise(::testing::FloatNear(1e-4f), Result(*alone, output, 0)));
      }
    }
  }
}

TEST_P(ServedRows, RowsThatFillUpABatchAreZero) {
  const auto model = RowModel(DataType::kFloat32, true, GetParam());
  const auto context = *model->NewContext();
  // Eight rows first, so that the memory holds somebody's data, then three in a plan for four.
  const Caller before(RandomFloats({8, kWidth}, 1));
  ASSERT_TRUE(Load(*context, {&before}).ok());
  ASSERT_TRUE(context->Execute().ok());
  const Caller few(RandomFloats({3, kWidth}, 2));
  ASSERT_TRUE(Load(*context, {&few}).ok());
  ASSERT_TRUE(context->Execute().ok());
  // A caller cannot ask for the fourth row: the shapes say three.
  EXPECT_EQ(context->OutputShape(1, 0), Shape({3, 10}));
  const auto alone = *model->NewContext();
  ASSERT_TRUE(Load(*alone, {&few}).ok());
  ASSERT_TRUE(alone->Execute().ok());
  EXPECT_EQ(Result(*context, 1, 0), Result(*alone, 1, 0));
}

TEST_P(ServedRows, MoreRowsThanCompiledBatchesGetAPlanOfTheirOwn) {
  const auto model = RowModel(DataType::kFloat32, true, GetParam());
  const auto context = *model->NewContext();
  const Caller many(RandomFloats({13, kWidth}, 1));
  ASSERT_TRUE(Load(*context, {&many}).ok());
  ASSERT_TRUE(context->Execute().ok());
  EXPECT_EQ(context->OutputShape(0, 0), Shape({13, 10}));
  const std::vector<float> all = Result(*context, 1, 0);
  for (int64_t row = 0; row < 13; ++row) {
    Tensor one = *Tensor::Allocate(DataType::kFloat32, {1, kWidth});
    std::memcpy(one.mutable_data(), many.tensor.data() + row * kWidth * 4, kWidth * 4);
    const Caller single(one);
    ASSERT_TRUE(Load(*context, {&single}).ok());
    ASSERT_TRUE(context->Execute().ok());
    const std::vector<float> expected = Result(*context, 1, 0);
    const std::vector<float> actual(all.begin() + row * 10, all.begin() + (row + 1) * 10);
    EXPECT_THAT(actual, ::testing::Pointwise(::testing::FloatNear(1e-4f), expected));
  }
}

TEST(ServedModel, ElementsMayStraddlePieces) {
  for (const DataType border : {DataType::kFloat32, DataType::kFloat64, DataType::kFloat16}) {
    const auto model = RowModel(border);
    const auto context = *model->NewContext();
    Tensor tensor = *Tensor::Allocate(border, {2, kWidth});
    for (int64_t i = 0; i < 2 * kWidth; ++i) {
      const float value = 0.25f * static_cast<float>(i % 9) - 1;
      std::byte* to = tensor.mutable_data() + static_cast<size_t>(i) * ByteSize(border);
      if (border == DataType::kFloat32) std::memcpy(to, &value, sizeof(value));
      if (border == DataType::kFloat64) {
        const double wide = value;
        std::memcpy(to, &wide, sizeof(wide));
      }
      if (border == DataType::kFloat16) {
        const uint16_t half = FloatToHalf(value);
        std::memcpy(to, &half, sizeof(half));
      }
    }
    Caller caller(tensor);
    ASSERT_TRUE(Load(*context, {&caller}).ok());
    ASSERT_TRUE(context->Execute().ok());
    const std::vector<float> whole = Result(*context, 1, 0);
    std::mt19937 random(5);
    for (int round = 0; round < 20; ++round) {
      InputTensor& input = caller.rows.inputs[0];
      input.pieces.clear();
      for (auto rest = caller.Bytes(); !rest.empty();) {
        const size_t size = std::min<size_t>(random() % 12, rest.size());  // also empty pieces
        input.pieces.push_back(rest.first(size));
        rest = rest.subspan(size);
      }
      ASSERT_TRUE(Load(*context, {&caller}).ok());
      ASSERT_TRUE(context->Execute().ok());
      EXPECT_EQ(Result(*context, 1, 0), whole) << Name(border);
    }
  }
}

TEST(ServedModel, OutputsHaveTheBordersType) {
  const auto model = RowModel(DataType::kFloat64);
  const auto context = *model->NewContext();
  const Caller caller(*Tensor::Allocate(DataType::kFloat64, {2, kWidth}));
  ASSERT_TRUE(Load(*context, {&caller}).ok());
  ASSERT_TRUE(context->Execute().ok());
  // Softmax of zeroes.
  EXPECT_THAT(Result<double>(*context, 0, 0), Each(::testing::DoubleNear(0.1, 1e-6)));
}

TEST(ServedModel, ByteCountsAndShapesAreChecked) {
  const auto model = RowModel();
  const auto context = *model->NewContext();
  const Caller good(RandomFloats({2, kWidth}, 1));
  const auto code_of = [&](const Caller& caller) {
    const absl::Status status = Load(*context, {&good, &caller});
    EXPECT_FALSE(context->Execute().ok()) << "nothing is loaded after an error";
    EXPECT_THAT(status.message(), HasSubstr(""));
    return status.code();
  };
  Caller short_bytes = good;
  short_bytes.rows.inputs[0].pieces = {good.Bytes().first(good.Bytes().size() - 1)};
  EXPECT_EQ(code_of(short_bytes), absl::StatusCode::kInvalidArgument);
  Caller no_bytes = good;
  no_bytes.rows.inputs[0].pieces.clear();
  EXPECT_EQ(code_of(no_bytes), absl::StatusCode::kInvalidArgument);
  Caller long_bytes = good;
  long_bytes.rows.inputs[0].pieces = {good.Bytes(), good.Bytes().first(4)};
  EXPECT_EQ(code_of(long_bytes), absl::StatusCode::kInvalidArgument);
  Caller other_width(RandomFloats({2, kWidth + 1}, 1));
  EXPECT_EQ(code_of(other_width), absl::StatusCode::kInvalidArgument);
  Caller other_rows = good;
  other_rows.rows.rows = 3;
  EXPECT_EQ(code_of(other_rows), absl::StatusCode::kInvalidArgument);
  Caller negative = good;
  negative.rows.inputs[0].shape = {-2, -kWidth};
  EXPECT_EQ(code_of(negative), absl::StatusCode::kInvalidArgument);
  Caller huge = good;
  huge.rows.inputs[0].shape = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_FALSE(Load(*context, {&huge}).ok());
  ASSERT_TRUE(Load(*context, {&good}).ok());
  EXPECT_TRUE(context->Execute().ok());
}

TEST(ServedModel, WhatDoesNotBatchRunsOneCallerAtATime) {
  const auto model = RowModel(DataType::kFloat32, /*batchable=*/false);
  const auto context = *model->NewContext();
  Caller caller(RandomFloats({2, kWidth}, 1));
  caller.rows.rows = 1;
  ASSERT_TRUE(Load(*context, {&caller}).ok());
  ASSERT_TRUE(context->Execute().ok());
  EXPECT_EQ(context->OutputShape(1, 0), Shape({2, 10}));
  EXPECT_EQ(Load(*context, {&caller, &caller}).code(), absl::StatusCode::kInternal);
}

TEST(ServedModel, MemoryIsCountedWhileItIsHeld) {
  const auto model = RowModel();
  EXPECT_EQ(model->memory().arena_bytes, 0u);
  EXPECT_EQ(model->memory().float32_weight_bytes, static_cast<size_t>(kWidth) * 10 * 4);
  {
    const auto first = *model->NewContext();
    const Caller caller(RandomFloats({2, kWidth}, 1));
    ASSERT_TRUE(Load(*first, {&caller}).ok());
    const size_t one = model->memory().arena_bytes;
    EXPECT_GE(one, caller.Bytes().size());
    const auto second = *model->NewContext();
    ASSERT_TRUE(Load(*second, {&caller}).ok());
    EXPECT_EQ(model->memory().arena_bytes, 2 * one);
    EXPECT_GT(model->memory().served_weight_bytes, 0u);
  }
  EXPECT_EQ(model->memory().arena_bytes, 0u);
  EXPECT_EQ(model->memory().scratchpad_bytes, 0u);
}

}  // namespace
}  // namespace octet::runtime
