#include "kernels/binary.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "tests/support/compare.h"
#include "tests/support/run_both.h"

namespace octet::kernels {
namespace {

using graph::Graph;
using graph::QuantParams;
using graph::TensorType;
using graph::ValueId;
using testing::BothResults;
using testing::Difference;
using testing::FixedInput;
using testing::RandomTensor;
using testing::RunBoth;

// A convolution first, so that the operand lies in blocks of channels; one after, so that the
// elements that fill the last block are read.
void ExpectEqualInBlocks(absl::string_view op, int64_t channels, const Shape& other,
                         bool constant_other) {
  SCOPED_TRACE(absl::StrCat(op, " of ", channels, " channels and ", ToText(other),
                            constant_other ? " constant" : ""));
  Graph graph(Registry());
  const ValueId x = FixedInput(graph, "x", {.shape = {2, 5, 7, 9}});
  const ValueId w = graph.AddConstant("w", RandomTensor({.shape = {channels, 5, 3, 3}}, 11));
  const ValueId v = graph.AddConstant("v", RandomTensor({.shape = {4, channels, 1, 1}}, 12));
  const ValueId y = graph.Apply("Conv", "first", {x, w});
  const ValueId z = constant_other ? graph.AddConstant("z", RandomTensor({.shape = other}, 13))
                                   : FixedInput(graph, "z", {.shape = other});
  const ValueId sum = graph.Apply(op, "binary", {y, z});
  graph.AddOutput(sum, "sum", DataType::kFloat32);
  graph.AddOutput(graph.Apply("Conv", "last", {sum, v}), "last", DataType::kFloat32);
  const BothResults results = RunBoth(graph, op);
  ASSERT_EQ(results.actual.size(), 2u);
  // The convolution rounds otherwise than its reference.
  EXPECT_EQ(Difference(results.actual[0], results.expected[0], DataType::kFloat32,
                       {.relative = 1e-4, .absolute = 1e-4}),
            "");
  EXPECT_EQ(Difference(results.actual[1], results.expected[1], DataType::kFloat32,
                       {.relative = 1e-3, .absolute = 1e-3}),
            "");
  EXPECT_THAT(results.implementations, ::testing::ElementsAre("octet:binary"));
}

TEST(LowerBinary, KeepsBlockedLayouts) {
  for (const int64_t channels : {16, 24, 5, 33}) {
    for (const bool constant : {false, true}) {
      for (const Shape& other :
           {Shape{2, channels, 5, 7}, Shape{2, channels, 1, 1}, Shape{1, channels, 1, 1},
            Shape{channels, 1, 1}, Shape{1, 1, 5, 7}, Shape{7}, Shape{}}) {
        ExpectEqualInBlocks("Add", channels, other, constant);
        ExpectEqualInBlocks("Mul", channels, other, constant);
      }
    }
    ExpectEqualInBlocks("Div", channels, {2, channels, 5, 7}, true);
    ExpectEqualInBlocks("Sub", channels, {2, channels, 1, 1}, false);
    ExpectEqualInBlocks("Max", channels, {1}, true);
    ExpectEqualInBlocks("PRelu", channels, {channels, 1, 1}, true);
  }
}

struct Pair {
  Shape a, b;
};

TEST(LowerBinary, BroadcastsPlainOperands) {
  for (const Pair& shapes :
       {Pair{{3, 4, 5}, {3, 4, 5}}, Pair{{3, 4, 5}, {5}}, Pair{{3, 1, 5}, {1, 4, 1}},
        Pair{{17}, {2, 3, 17}}, Pair{{2, 1, 40}, {2, 31, 1}}, Pair{{1, 1}, {6, 7}}}) {
    for (const absl::string_view op : {"Add", "Sub", "Mul", "Div", "Max", "Min"}) {
      Graph graph(Registry());
      const ValueId a = FixedInput(graph, "a", {.shape = shapes.a});
      const ValueId b = FixedInput(graph, "b", {.shape = shapes.b});
      graph.AddOutput(graph.Apply(op, "binary", {a, b}), "y", DataType::kFloat32);
      const BothResults results = RunBoth(graph, op);
      ASSERT_EQ(results.actual.size(), 1u);
      EXPECT_EQ(Difference(results.actual[0], results.expected[0], DataType::kFloat32,
                           {.relative = 0, .absolute = 0}),
                "")
          << op << ToText(shapes.a) << ToText(shapes.b);
      EXPECT_THAT(results.implementations, ::testing::ElementsAre("octet:binary"));
    }
  }
}

// Codes may differ by one where the exact result lies between two codes, and only there.
void ExpectSameCodes(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.dtype(), expected.dtype());
  ASSERT_EQ(actual.shape(), expected.shape());
  VisitType(actual.dtype(), [&]<typename T>() {
    int different = 0;
    for (int64_t i = 0; i < actual.size(); ++i) {
      const int distance =
          std::abs(static_cast<int>(actual.As<T>()[i]) - static_cast<int>(expected.As<T>()[i]));
      EXPECT_LE(distance, 1) << "element " << i;
      different += distance != 0;
    }
    EXPECT_LE(different, actual.size() / 1000);
  });
}

TensorType Codes(DataType dtype, Shape shape, float scale, int32_t zero_point) {
  return {.dtype = dtype,
          .shape = std::move(shape),
          .quant = QuantParams{.scales = {scale}, .zero_points = {zero_point}}};
}

TEST(LowerBinary, ComputesOnCodes) {
  const auto u8 = DataType::kUint8, s8 = DataType::kInt8;
  for (const absl::string_view op : {"Add", "Mul"}) {
    for (const DataType a_type : {u8, s8}) {
      for (const DataType b_type : {u8, s8}) {
        for (const Shape& b_shape : {Shape{2, 19, 6, 6}, Shape{2, 19, 1, 1}, Shape{}}) {
          Graph graph(Registry());
          const ValueId a = FixedInput(graph, "a", Codes(a_type, {2, 19, 6, 6}, 0.031f, 7));
          const ValueId b = FixedInput(graph, "b", Codes(b_type, b_shape, 0.017f, -3));
          const ValueId y = graph.Apply(op, "binary", {a, b});
          graph.mutable_type(y) = Codes(op == "Add" ? s8 : u8, {}, 0.041f, 11);
          graph.AddOutput(y, "y", DataType::kFloat32);
          const BothResults results = RunBoth(graph, op);
          ASSERT_EQ(results.actual.size(), 1u);
          ExpectSameCodes(results.actual[0], results.expected[0]);
        }
      }
    }
  }
}

TEST(LowerBinary, MixesCodesAndFloats) {
  Graph graph(Registry());
  const ValueId a = FixedInput(graph, "a", Codes(DataType::kUint8, {4, 50}, 0.031f, 100));
  const ValueId b = FixedInput(graph, "b", {.shape = {4, 50}});
  const ValueId y = graph.Apply("Add", "add", {a, b});
  graph.AddOutput(y, "y", DataType::kFloat32);
  const ValueId z = graph.Apply("Mul", "mul", {y, b});
  graph.mutable_type(z) = Codes(DataType::kInt8, {}, 0.05f, 0);
  graph.AddOutput(z, "z", DataType::kFloat32);
  const BothResults results = RunBoth(graph, "Add");
  ASSERT_EQ(results.actual.size(), 2u);
  EXPECT_EQ(Difference(results.actual[0], results.expected[0], DataType::kFloat32), "");
  ExpectSameCodes(results.actual[1], results.expected[1]);
}

TEST(LowerBinary, RefusesCodesWhereItHasNoKernel) {
  Graph graph(Registry());
  const ValueId a = FixedInput(graph, "a", Codes(DataType::kUint8, {4, 50}, 0.031f, 100));
  graph.AddOutput(graph.Apply("Div", "div", {a, a}), "y", DataType::kFloat32);
  WeightCache weights;
  const auto concrete = graph::Specialize(graph, std::vector<Shape>{{4, 50}});
  ASSERT_TRUE(concrete.ok()) << concrete.status();
  EXPECT_EQ(LowerGraph(*concrete, weights).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
