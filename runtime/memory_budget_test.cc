#include "runtime/memory_budget.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/layer_inputs.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

constexpr int64_t kWide = 512, kNarrow = 64;

// A product of many inputs and one of few.
GraphBuilder::Finished Products() {
  GraphBuilder builder;
  graph::ValueId x = builder.Input("x", {kUnknownDim, kWide});
  x = builder.Apply("MatMul", "wide",
                    {x, builder.Constant("wide.w", RandomFloats({kWide, kNarrow}, 1, 0.1f))});
  x = builder.Apply("MatMul", "narrow",
                    {x, builder.Constant("narrow.w", RandomFloats({kNarrow, kNarrow}, 2, 0.1f))});
  builder.Output(x, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Data(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, kWide}, static_cast<uint32_t>(70 + i))});
  }
  return data;
}

int64_t Held(const GraphBuilder::Finished& model, const CalibrationData& data) {
  constexpr int64_t kLarge = int64_t{1} << 40;
  const int64_t all = (kWide + kNarrow) * kNarrow * 4;
  EXPECT_EQ(*BytesForHessians({.memory_bytes = kLarge}, model.graph, data, {}), kMostHessianBytes);
  return all + all / 4 + static_cast<int64_t>(data.samples.size()) * kWide * 4;
}

TEST(MemoryBudget, IsForStatisticsWhatWeightsAndSamplesLeave) {
  const GraphBuilder::Finished model = Products();
  const CalibrationData data = Data(8);
  EXPECT_EQ(*BytesForHessians({}, model.graph, data, {}), int64_t{64} << 20);
  const int64_t held = Held(model, data);
  EXPECT_EQ(*BytesForHessians({.memory_bytes = held + 1000}, model.graph, data, {}), 1000);
  const auto refused = BytesForHessians({.memory_bytes = held - 1}, model.graph, data, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("budget.memory_mb"), HasSubstr("for samples")));
  EXPECT_EQ(BytesForHessians({.memory_bytes = held + 1}, model.graph, data, data).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(MemoryBudget, OfWhatIsInAFileTheLargestWeightCounts) {
  GraphBuilder::Finished model = Products();
  CalibrationData data = Data(8);
  const auto file = TensorFile::In(::testing::TempDir());
  model.graph.HoldConstantsIn(file);
  for (size_t i = 0; i < model.graph.value_count(); ++i) {
    const auto id = static_cast<graph::ValueId>(i);
    if (model.graph.IsConstant(id)) model.graph.MakeConstant(id, *model.graph.value(id).constant);
  }
  data.samples.push_back({file->Hold(RandomFloats({64, kWide}, 90))});
  ASSERT_TRUE(data.samples.back()[0].in_file());
  const int64_t wide = kWide * kNarrow * 4, narrow = kNarrow * kNarrow * 4;
  const int64_t held = wide * 3 / 2 + narrow + (wide + narrow) / 4 + 8 * kWide * 4;
  EXPECT_EQ(*BytesForHessians({.memory_bytes = held + 1000}, model.graph, data, {}), 1000);
  EXPECT_EQ(BytesForHessians({.memory_bytes = held - 1}, model.graph, data, {}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(MemoryBudget, LayersBeyondItHaveNoErrorFeedback) {
  const GraphBuilder::Finished model = Products();
  const CalibrationData data = Data(16);
  const int64_t room = 8 * kNarrow * (kNarrow + 128);
  for (const LayerMode mode : {LayerMode::kInt8, LayerMode::kInt4}) {
    QuantizeOptions options{.mode = mode, .on_fail = OnFail::kWarn};
    const auto with = QuantizeModel(model.graph, model.example_shapes, data, options);
    ASSERT_TRUE(with.ok()) << with.status();
    EXPECT_TRUE(with->report.layers[0].weights.gptq && with->report.layers[1].weights.gptq);
    options.memory_bytes = Held(model, data) + room;
    const auto within = QuantizeModel(model.graph, model.example_shapes, data, options);
    ASSERT_TRUE(within.ok()) << within.status();
    EXPECT_FALSE(within->report.layers[0].weights.gptq);
    EXPECT_TRUE(within->report.layers[1].weights.gptq);
    if (mode == LayerMode::kInt4) {
      EXPECT_THAT(within->report.layers[0].weights.note, HasSubstr("budget.memory_mb"));
    }
    options.memory_bytes = 1;
    EXPECT_EQ(QuantizeModel(model.graph, model.example_shapes, data, options).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
}

}  // namespace
}  // namespace octet::runtime
