#include "runtime/local_noise.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using quant::Precision;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

constexpr int64_t kChannels = 16;

// Three 1x1 convolutions. A channel of the first's result is `outlier` times the others, and the
// second reads it as much less: one range for all channels costs the others their precision.
GraphBuilder::Finished Network(float outlier) {
  GraphBuilder builder;
  Tensor first = RandomFloats({kChannels, 8, 1, 1}, 1, 0.3f);
  for (int64_t i = 0; i < 8; ++i) first.MutableAs<float>()[i] *= outlier;
  Tensor middle = RandomFloats({kChannels, kChannels, 1, 1}, 2, 0.3f);
  for (int64_t o = 0; o < kChannels; ++o) middle.MutableAs<float>()[o * kChannels] /= outlier;
  graph::ValueId x = builder.Input("x", {kUnknownDim, 8, 6, 6});
  x = builder.Apply("Conv", "first", {x, builder.Constant("first.w", first)});
  x = builder.Apply("Conv", "middle", {x, builder.Constant("middle.w", middle)});
  x = builder.Apply("Conv", "last",
                    {x, builder.Constant("last.w", RandomFloats({8, kChannels, 1, 1}, 3))});
  builder.Output(x, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Data(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 8, 6, 6}, static_cast<uint32_t>(60 + i))});
  }
  return data;
}

QuantizeReport Report(const GraphBuilder::Finished& model, QuantizeOptions options) {
  options.activation_algorithms = {"min_max"};
  options.bias_correction = QuantizeOptions::BiasCorrection::kOff;
  const auto quantized = QuantizeModel(model.graph, model.example_shapes, Data(16), options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return quantized->report;
}

TEST(LocalNoise, IsThatOfEachLayerWithExactInputs) {
  const GraphBuilder::Finished model = Network(1);
  const auto layers = *quant::QuantizableLayers(model.graph);
  const std::vector<Precision> precisions = {Precision::kInt8, Precision::kFloat32,
                                             Precision::kInt8};
  const QuantizeOptions options;
  const CalibrationData data = Data(8);
  kernels::WeightCache floats;
  LayerWeights weights(model.graph, options);
  ASSERT_TRUE(weights.Quantize({{layers[0], precisions[0]}, {layers[2], precisions[2]}}).ok());
  ActivationRanges ranges(options);
  quant::LayerPrecisions all;
  for (const graph::NodeId layer : layers) all[layer] = Precision::kInt8;
  const auto widest = quant::Select(model.graph, all);
  ASSERT_TRUE(ranges.Observe(model.graph, *widest, data.samples, floats).ok());
  const auto noise =
      LocalNoise(model.graph, layers, precisions, weights, "min_max", ranges, data.samples);
  ASSERT_TRUE(noise.ok()) << noise.status();
  ASSERT_EQ(noise->size(), 3u);
  EXPECT_EQ((*noise)[1], 0);
  for (const size_t i : {size_t{0}, size_t{2}}) {
    // Eight bits leave some 40 dB, in each layer: what precedes it is exact.
    EXPECT_GT(-10 * std::log10((*noise)[i]), 34) << i;
    EXPECT_LT(-10 * std::log10((*noise)[i]), 55) << i;
  }
}

TEST(LocalNoise, RanksLayersByTheirOwnResults) {
  QuantizeOptions options{.accuracy = {AccuracyMetric::kSqnr, 30}, .max_float_fraction = 1};
  options.policy = QuantizeOptions::Policy::kLocal;
  const QuantizeReport local = Report(Network(300), options);
  EXPECT_EQ(local.accuracy.verdict, AccuracyVerdict::kMet);
  bool moved = false;
  for (const LayerReport& layer : local.layers) {
    EXPECT_EQ(layer.alone_sqnr_db, 0) << layer.node;  // of the outputs, which nobody looked at
    if (layer.precision == Precision::kInt8) continue;
    moved = true;
    EXPECT_THAT(layer.reason, HasSubstr("leaves its own result")) << layer.node;
  }
  EXPECT_TRUE(moved);
  options.policy = QuantizeOptions::Policy::kOutput;
  const QuantizeReport output = Report(Network(300), options);
  EXPECT_EQ(output.accuracy.verdict, AccuracyVerdict::kMet);
  EXPECT_LT(local.accuracy.attempts, output.accuracy.attempts);
}

TEST(LocalNoise, OffMovesNoLayer) {
  QuantizeOptions options{.accuracy = {AccuracyMetric::kSqnr, 30}, .max_float_fraction = 1};
  options.policy = QuantizeOptions::Policy::kOff;
  const QuantizeReport report = Report(Network(300), options);
  EXPECT_EQ(report.accuracy.verdict, AccuracyVerdict::kBestEffort);
  EXPECT_EQ(report.accuracy.attempts, 0);
  EXPECT_THAT(report.accuracy.note, HasSubstr("mixed_precision.policy: off"));
  for (const LayerReport& layer : report.layers) EXPECT_EQ(layer.precision, Precision::kInt8);
}

}  // namespace
}  // namespace octet::runtime
