#include "runtime/correct_biases.h"

#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using quant::Precision;
using testing::GraphBuilder;
using testing::RandomFloats;

using Attributes = absl::flat_hash_map<std::string, graph::Attribute>;

struct Layer {
  std::string op;
  Shape input;  // of a sample
  Shape weight;
  Attributes attributes;
  bool bias = false;
};

constexpr size_t kSamples = 6;

// Not centred at zero: else there is no mean error to speak of.
std::vector<std::vector<Tensor>> PositiveSamples(const Shape& shape) {
  std::vector<std::vector<Tensor>> samples;
  for (uint32_t i = 0; i < kSamples; ++i) {
    Tensor tensor = RandomFloats(shape, 50 + i);
    for (float& value : tensor.MutableAs<float>()) value = std::abs(value);
    samples.push_back({std::move(tensor)});
  }
  return samples;
}

GraphBuilder::Finished Network(const Layer& layer) {
  GraphBuilder builder;
  Shape input = layer.input;
  input[0] = kUnknownDim;
  const Tensor weight = RandomFloats(layer.weight, 1, 0.3f);
  std::vector<ValueId> inputs = {builder.Input("x", input), builder.Constant("w", weight)};
  if (layer.bias) {
    const int64_t channels = layer.op == "Conv" ? layer.weight[0] : layer.weight[1];
    inputs.push_back(builder.Constant("b", RandomFloats({channels}, 2)));
  }
  builder.Output(builder.Apply(layer.op, "layer", inputs, layer.attributes), "y");
  return builder.Finish();
}

// The largest difference of the channels' means over all samples.
double LargestMeanError(const graph::Graph& exact, const graph::Graph& quantized, int axis,
                        Samples samples) {
  kernels::WeightCache a, b;
  const auto x = RunAll(exact, samples, a), y = RunAll(quantized, samples, b);
  const auto channels = static_cast<size_t>((*x)[0][0].shape()[static_cast<size_t>(axis)]);
  const auto inner = static_cast<size_t>(axis == 1 ? (*x)[0][0].size() / (*x)[0][0].shape()[0] : 1);
  std::vector<double> error(channels);
  size_t count = 0;
  for (size_t s = 0; s < samples.size(); ++s) {
    const auto u = (*x)[s][0].As<float>(), v = (*y)[s][0].As<float>();
    count += u.size() / channels;
    for (size_t i = 0; i < u.size(); ++i) {
      const size_t channel = axis == 1 ? i % inner / (inner / channels) : i % channels;
      error[channel] += double{u[i]} - v[i];
    }
  }
  double largest = 0;
  for (const double sum : error)
    largest = std::max(largest, std::abs(sum / static_cast<double>(count)));
  return largest;
}

struct Errors {
  double before, after;
};

// With one scale for all weights, so that they err; `scale` is that of the input's codes.
Errors MeasureErrors(const Layer& layer, float scale) {
  const auto network = Network(layer);
  const graph::NodeId id = network.graph.Nodes()[0];
  const auto selection = quant::Select(network.graph, {{id, Precision::kInt8}});
  EXPECT_EQ(selection->quantizer_count, 1);
  const std::vector<quant::ValueQuantizer> quantizers = {
      {DataType::kUint8, quant::ToQuantParams({scale, 0})}};
  const Tensor& weight = *network.graph.value(network.graph.node(id).inputs[1]).constant;
  const quant::WeightsById weights = {
      {weight.id(), *quant::QuantizeWeights(weight.view(), {.grid = quant::kSymmetricInt7})}};
  graph::Graph quantized = *quant::Rewrite(network.graph, *selection, quantizers, weights);
  const auto samples = PositiveSamples(layer.input);
  const int axis = layer.op == "Conv" ? 1 : static_cast<int>(layer.input.size()) - 1;
  const double before = LargestMeanError(network.graph, quantized, axis, samples);
  kernels::WeightCache cache;
  const auto corrections =
      CorrectBiases(network.graph, *selection, quantizers, weights, samples, cache);
  EXPECT_TRUE(corrections.ok()) << corrections.status();
  EXPECT_EQ(corrections->biases.size(), 1u);
  ApplyBiases(*corrections, *selection, quantized);
  EXPECT_TRUE(quantized.Verify().ok());
  return {before, LargestMeanError(network.graph, quantized, axis, samples)};
}

TEST(CorrectBiases, TakesOutTheMeanErrorOfEveryKindOfLayer) {
  const Layer layers[] = {
      {"Conv", {2, 16, 9, 9}, {24, 16, 3, 3}, {}, true},
      {"Conv", {2, 16, 9, 9}, {24, 16, 1, 1}, {{"strides", std::vector<int64_t>{1, 1}}}},
      {"Conv", {1, 24, 12, 12}, {24, 1, 3, 3}, {{"group", int64_t{24}}}, true},
      {"Conv", {1, 32, 8, 8}, {16, 8, 1, 1}, {{"group", int64_t{4}}}},
      {"MatMul", {20, 48}, {48, 24}, {}},
      {"MatMul", {3, 20, 48}, {48, 24}, {}},
      {"Gemm", {20, 48}, {48, 24}, {}, true},
  };
  for (const Layer& layer : layers) {
    const Errors errors = MeasureErrors(layer, 0.02f);
    EXPECT_GT(errors.before, 1e-3) << layer.op << ToText(layer.weight);
    // What is left: a kernel of 3 x 3 sees less of the border than the mean does.
    const double left = layer.weight.size() == 4 && layer.weight[2] > 1 ? 0.5 : 1e-2;
    EXPECT_LT(errors.after, left * errors.before) << layer.op << ToText(layer.weight);
  }
}

TEST(CorrectBiases, KnowsWhatIsCutOffTheActivations) {
  // Codes end at 1.02; a third of the inputs lie above.
  const Errors errors = MeasureErrors({"MatMul", {40, 48}, {48, 24}, {}}, 0.004f);
  EXPECT_GT(errors.before, 0.3);
  EXPECT_LT(errors.after, 1e-3 * errors.before);
}

TEST(CorrectBiases, FloatLayersKeepTheirBias) {
  const auto network = Network({"Gemm", {20, 48}, {48, 24}, {}, true});
  const graph::NodeId id = network.graph.Nodes()[0];
  const auto all = quant::Select(network.graph, {{id, Precision::kInt8}});
  const auto none = quant::Select(network.graph, {{id, Precision::kFloat32}});
  BiasCorrections corrections;
  corrections.biases.emplace(id, RandomFloats({24}, 9));
  graph::Graph graph = network.graph;
  ApplyBiases(corrections, *none, graph);
  EXPECT_EQ(graph.node(id).inputs, network.graph.node(id).inputs);
  ApplyBiases(corrections, *all, graph);
  EXPECT_NE(graph.node(id).inputs, network.graph.node(id).inputs);
}

TEST(CorrectBiases, NeedsSamples) {
  const auto network = Network({"Gemm", {20, 48}, {48, 24}, {}, true});
  const auto selection = quant::Select(network.graph, {});
  kernels::WeightCache cache;
  EXPECT_EQ(CorrectBiases(network.graph, *selection, {}, {}, {}, cache).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

CalibrationData Data(const Shape& shape) {
  CalibrationData data{.source = "memory"};
  for (uint32_t round = 0; round < 3; ++round) {
    for (auto& sample : PositiveSamples(shape)) {
      for (float& value : sample[0].MutableAs<float>()) value += 0.01f * static_cast<float>(round);
      data.samples.push_back(std::move(sample));
    }
  }
  return data;
}

TEST(QuantizeModel, BiasesAreCorrectedWhereThatHelps) {
  const auto network = Network({"Conv", {1, 24, 12, 12}, {24, 1, 1, 1}, {{"group", int64_t{24}}}});
  using Wanted = QuantizeOptions::BiasCorrection;
  const QuantizeOptions options{.per_channel = false, .accuracy = {.value = 0}};
  const auto quantize = [&](Wanted wanted) {
    QuantizeOptions with = options;
    with.bias_correction = wanted;
    return QuantizeModel(network.graph, network.example_shapes, Data({1, 24, 12, 12}), with)
        ->report;
  };
  const QuantizeReport off = quantize(Wanted::kOff), automatic = quantize(Wanted::kAuto);
  EXPECT_FALSE(off.bias_correction);
  EXPECT_TRUE(automatic.bias_correction);
  EXPECT_GT(automatic.output_sqnr_db, off.output_sqnr_db + 1);
  EXPECT_EQ(automatic.output_sqnr_db, automatic.bias_correction_sqnr_db);
}

}  // namespace
}  // namespace octet::runtime
