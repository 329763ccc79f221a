#include "runtime/input_powers.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;
using testing::GraphBuilder;
using testing::RandomFloats;

constexpr int64_t kDepth = 64;

// A product whose first inputs are much stronger than the others.
GraphBuilder::Finished Product() {
  GraphBuilder builder;
  const graph::ValueId x = builder.Input("x", {kUnknownDim, kDepth});
  builder.Output(
      builder.Apply("MatMul", "layer", {x, builder.Constant("w", RandomFloats({kDepth, 32}, 1))}),
      "y");
  return builder.Finish();
}

CalibrationData Data(size_t count, uint32_t seed) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    Tensor x = RandomFloats({1, kDepth}, seed + static_cast<uint32_t>(i));
    for (float& value : x.MutableAs<float>().subspan(4)) value *= 0.02f;
    data.samples.push_back({std::move(x)});
  }
  return data;
}

double SqnrDb(const GraphBuilder::Finished& model, QuantizeOptions options, bool& weighted) {
  options.timing = QuantizeOptions::Timing::kDynamic;  // the weights' errors alone
  options.compensation = QuantizeOptions::Compensation::kNone;
  options.bias_correction = QuantizeOptions::BiasCorrection::kOff;
  options.on_fail = OnFail::kWarn;
  const auto quantized = QuantizeModel(model.graph, model.example_shapes, Data(24, 100), options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  weighted = quantized->report.layers.at(0).weights.weighted;
  kernels::WeightCache exact_weights, weights;
  const CalibrationData fresh = Data(64, 500);
  const auto exact = RunAll(model.graph, fresh.samples, exact_weights);
  const auto other = RunAll(quantized->graph, fresh.samples, weights);
  EXPECT_TRUE(exact.ok() && other.ok());
  return OutputSqnrDb(*exact, *other);
}

TEST(InputPowers, BringTheOutputsNearer) {
  using Weighting = QuantizeOptions::Weighting;
  const GraphBuilder::Finished model = Product();
  for (const char* codebook : {"", "least_squares"}) {
    QuantizeOptions options{.mode = LayerMode::kInt4};
    options.four_bits.codebook = codebook;
    options.four_bits.group = 0;
    bool weighted = true;
    options.weighting = Weighting::kNone;
    const double without = SqnrDb(model, options, weighted);
    EXPECT_FALSE(weighted);
    options.weighting = Weighting::kActivation;
    const double with = SqnrDb(model, options, weighted);
    EXPECT_TRUE(weighted);
    EXPECT_GT(with, without + 1) << codebook;
    options.weighting = Weighting::kAuto;
    EXPECT_EQ(SqnrDb(model, options, weighted), with);
  }
}

TEST(InputPowers, AreForEightBitsWhereTheyAreAskedFor) {
  using Weighting = QuantizeOptions::Weighting;
  const GraphBuilder::Finished model = Product();
  bool weighted = true;
  QuantizeOptions options{.mode = LayerMode::kInt8};
  const double automatic = SqnrDb(model, options, weighted);
  EXPECT_FALSE(weighted);
  options.weighting = Weighting::kNone;
  EXPECT_EQ(SqnrDb(model, options, weighted), automatic);
  options.weighting = Weighting::kActivation;
  EXPECT_NE(SqnrDb(model, options, weighted), automatic);
  EXPECT_TRUE(weighted);
}

TEST(InputPowers, AreOfTheChannelThatAWeightMeets) {
  GraphBuilder builder;
  const graph::ValueId x = builder.Input("x", {kUnknownDim, 4, 6, 6});
  const graph::ValueId grouped =
      builder.Apply("Conv", "grouped", {x, builder.Constant("g.w", RandomFloats({4, 2, 1, 3}, 1))},
                    {{"group", int64_t{2}}});
  builder.Output(builder.Apply("Conv", "whole",
                               {grouped, builder.Constant("w.w", RandomFloats({2, 4, 1, 2}, 2))}),
                 "y");
  const graph::Graph graph = builder.Finish().graph;
  const std::vector<graph::NodeId> layers = graph.NodesOfType("Conv");
  ASSERT_EQ(layers.size(), 2u);
  const InputPowers powers = {{layers[0], {1, 2, 3, 2}}, {layers[1], {0, 2, 4, 2}}};
  EXPECT_THAT(ImportanceOf(graph, {&layers[0], 1}, powers),
              ElementsAre(.5, .5, .5, 1, 1, 1, .5, .5, .5, 1, 1, 1,  //
                          1.5, 1.5, 1.5, 1, 1, 1, 1.5, 1.5, 1.5, 1, 1, 1));
  EXPECT_TRUE(ColumnImportance(graph, {&layers[0], 1}, powers).empty());
  EXPECT_THAT(ColumnImportance(graph, {&layers[1], 1}, powers),
              ElementsAre(1e-3f, 1e-3f, 1, 1, 2, 2, 1, 1));
  EXPECT_TRUE(ImportanceOf(graph, {&layers[1], 1}, {}).empty());
}

}  // namespace
}  // namespace octet::runtime
