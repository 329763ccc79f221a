#include "runtime/equalize_channels.h"

#include <cmath>

#include "gtest/gtest.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;
using testing::GraphBuilder;
using testing::RandomFloats;

constexpr int64_t kChannels = 16;
constexpr int64_t kSize = 8;

// Weights of a convolution whose channel of dimension `dimension` times 2^exponent(channel).
template <typename Exponent>
Tensor Scaled(Shape shape, uint32_t seed, size_t dimension, Exponent exponent) {
  Tensor tensor = RandomFloats(shape, seed);
  const std::span<float> weights = tensor.MutableAs<float>();
  const size_t inner = static_cast<size_t>(
      ElementCount(Shape(shape.begin() + static_cast<int>(dimension) + 1, shape.end())));
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t channel = i / inner % static_cast<size_t>(shape[dimension]);
    weights[i] *= std::pow(2.0f, static_cast<float>(exponent(static_cast<int>(channel))));
  }
  return tensor;
}

int First(int channel) { return channel % 7; }
int Second(int channel) { return 2 * (channel % 3); }

// A block as mobile networks have it: a pointwise convolution, `activation`, a depthwise one, ReLU,
// a pointwise one. Channels between them differ in size by up to 64 times and matter equally.
GraphBuilder::Finished Block(const std::string& activation, bool read_by_others = false) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 4, kSize, kSize});
  ValueId y =
      builder.Apply("Conv", "expand",
                    {x, builder.Constant("expand.w", Scaled({kChannels, 4, 1, 1}, 1, 0, First))});
  y = builder.Apply(activation, "activation", {y});
  if (read_by_others) builder.Output(builder.Apply("GlobalAveragePool", "pool", {y}), "pooled");
  const auto depthwise = [](int channel) { return Second(channel) - First(channel); };
  y = builder.Apply(
      "Conv", "depthwise",
      {y, builder.Constant("depthwise.w", Scaled({kChannels, 1, 3, 3}, 2, 0, depthwise))},
      {{"group", kChannels}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  y = builder.Apply("Relu", "relu", {y});
  const auto project = [](int channel) { return -Second(channel); };
  y = builder.Apply(
      "Conv", "project",
      {y, builder.Constant("project.w", Scaled({8, kChannels, 1, 1}, 3, 1, project))});
  builder.Output(y, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Data(size_t count, uint32_t seed = 50) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 4, kSize, kSize}, seed + static_cast<uint32_t>(i))});
  }
  return data;
}

double SqnrDb(const Graph& exact, const Graph& other, const CalibrationData& data) {
  kernels::WeightCache exact_weights, other_weights;
  const auto x = RunAll(exact, data.samples, exact_weights);
  const auto y = RunAll(other, data.samples, other_weights);
  EXPECT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
  return x.ok() && y.ok() ? OutputSqnrDb(*x, *y) : -1;
}

double Int8SqnrDb(const GraphBuilder::Finished& block, const Graph& floats,
                  const CalibrationData& calibration, const CalibrationData& other) {
  const QuantizeOptions options{.on_fail = OnFail::kWarn};
  const auto quantized = QuantizeModel(floats, block.example_shapes, calibration, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return quantized.ok() ? SqnrDb(block.graph, quantized->graph, other) : -1;
}

TEST(EqualizeChannels, KeepsTheFunction) {
  for (const std::string activation : {"Relu", "LeakyRelu", "HardSwish"}) {
    const GraphBuilder::Finished block = Block(activation);
    Graph equal = block.graph;
    const auto report = EqualizeChannels(equal, Data(8).samples);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->equalized.size(), 2u) << activation;
    // The weights in front take the division, where what is between is linear in its scale.
    EXPECT_EQ(report->folded, activation == "HardSwish" ? 1 : 2) << activation;
    EXPECT_GT(SqnrDb(block.graph, equal, Data(8, 90)), 98) << activation;
  }
}

TEST(EqualizeChannels, MakesInt8MoreAccurate) {
  for (const std::string activation : {"Relu", "HardSwish"}) {
    const GraphBuilder::Finished block = Block(activation);
    Graph equal = block.graph;
    ASSERT_TRUE(EqualizeChannels(equal, Data(16).samples).ok());
    EXPECT_GT(Int8SqnrDb(block, equal, Data(16), Data(40, 90)),
              Int8SqnrDb(block, block.graph, Data(16), Data(40, 90)) + 1)
        << activation;
  }
}

TEST(EqualizeChannels, LeavesAloneWhatOthersRead) {
  const GraphBuilder::Finished block = Block("HardSwish", /*read_by_others=*/true);
  Graph equal = block.graph;
  const auto report = EqualizeChannels(equal, Data(8).samples);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->equalized.size(), 1u);  // what the depthwise one hands on
  const ValueId activation =
      equal.node(*equal.value(report->equalized[0].value).producer).inputs[0];
  EXPECT_FALSE(IsEqualizable(block.graph, activation));
  EXPECT_TRUE(IsEqualizable(block.graph, report->equalized[0].value));
}

// Channels that are silent in nearly all samples and then as loud as the others: the few samples
// seen do not say how loud.
TEST(EqualizeChannels, DoesNotTrustExtremesOfSingleSamples) {
  const GraphBuilder::Finished block = Block("Relu");
  const auto rare = [](size_t count, uint32_t seed) {
    CalibrationData data = Data(count, seed);
    for (size_t s = 0; s < count; ++s) {
      const float loudness = s == 0 ? 1.0f : (s % 5 == 1 ? 0.5f : 0.02f);
      for (float& element : data.samples[s][0].MutableAs<float>()) element *= loudness;
    }
    return data;
  };
  Graph equal = block.graph;
  ASSERT_TRUE(EqualizeChannels(equal, rare(12, 50).samples).ok());
  EXPECT_GT(Int8SqnrDb(block, equal, rare(12, 50), rare(40, 90)),
            Int8SqnrDb(block, block.graph, rare(12, 50), rare(40, 90)) - 0.5);
}

TEST(EqualizeChannels, DoesTheSameAgain) {
  const GraphBuilder::Finished block = Block("HardSwish");
  Graph equal = block.graph, again = block.graph;
  const auto report = EqualizeChannels(equal, Data(8).samples);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_FALSE(report->equalized.empty());
  ASSERT_TRUE(SmoothAsBefore(again, report->equalized).ok());
  EXPECT_EQ(SqnrDb(equal, again, Data(8, 90)), 99);
}

TEST(EqualizeChannels, NamesWhatDoesNotFit) {
  const GraphBuilder::Finished block = Block("HardSwish");
  Graph equal = block.graph;
  EXPECT_EQ(EqualizeChannels(equal, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  auto report = EqualizeChannels(equal, Data(8).samples);
  ASSERT_TRUE(report.ok() && !report->equalized.empty());
  SmoothedActivation wrong = report->equalized[0];
  wrong.factors.pop_back();
  Graph again = block.graph;
  EXPECT_EQ(SmoothAsBefore(again, {wrong}).code(), absl::StatusCode::kInvalidArgument);
  wrong = report->equalized[0];
  wrong.factors[0] = 0;
  EXPECT_EQ(SmoothAsBefore(again, {wrong}).code(), absl::StatusCode::kInvalidArgument);
  wrong = report->equalized[0];
  wrong.value = block.graph.inputs()[0].value;
  EXPECT_EQ(SmoothAsBefore(again, {wrong}).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace octet::runtime
