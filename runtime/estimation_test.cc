// That the parameters of the algorithms reach those who use them.

#include "gtest/gtest.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using testing::GraphBuilder;
using testing::RandomFloats;

// Cubes: few values are large, so that algorithms clip.
Tensor Tailed(Shape shape, uint32_t seed) {
  Tensor tensor = RandomFloats(std::move(shape), seed);
  for (float& value : tensor.MutableAs<float>()) value = value * value * value;
  return tensor;
}

struct Scales {
  float weights = 0, activations = 0;

  bool operator==(const Scales&) const = default;
};

// Of one layer, both found by this algorithm.
Scales ScalesOf(const std::string& algorithm, const quant::EstimatorOptions& estimation) {
  GraphBuilder builder;
  const graph::ValueId x = builder.Input("x", {kUnknownDim, 256});
  builder.Output(builder.Apply("MatMul", "layer", {x, builder.Constant("w", Tailed({256, 64}, 1))}),
                 "y");
  const GraphBuilder::Finished model = builder.Finish();
  CalibrationData data{.source = "memory"};
  for (uint32_t i = 0; i < 32; ++i) data.samples.push_back({Tailed({1, 256}, 10 + i)});
  const QuantizeOptions options{.weight_algorithm = algorithm,
                                .activation_algorithms = {algorithm},
                                .per_channel = false,
                                .estimation = estimation,
                                .on_fail = OnFail::kWarn};
  const auto quantized = QuantizeModel(model.graph, model.example_shapes, data, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  const graph::Graph& graph = quantized->graph;
  const graph::Node& layer = graph.node(graph.NodesOfType("MatMul").at(0));
  return {graph.value(layer.inputs[1]).type.quant->scales[0],
          graph.value(layer.inputs[0]).type.quant->scales[0]};
}

TEST(Estimation, EveryParameterChangesWhatItsAlgorithmFinds) {
  const quant::EstimatorOptions none;
  for (const auto& [algorithm, other] :
       std::vector<std::pair<std::string, quant::EstimatorOptions>>{
           {"percentile", {.percentile = 90}},
           {"least_squares", {.max_iterations = 0}},
           {"least_squares", {.tolerance = 0.5}},
           {"histogram_equalization", {.gamma = 1}},
           {"histogram_equalization", {.bins = 16}},
           {"decision_tree", {.balanced_tree = true}}}) {
    const Scales usual = ScalesOf(algorithm, none), changed = ScalesOf(algorithm, other);
    EXPECT_NE(usual.weights, changed.weights) << algorithm;
    // A tree's largest leaf may be the same however it was reached.
    if (algorithm == "decision_tree") continue;
    EXPECT_NE(usual.activations, changed.activations) << algorithm;
  }
  EXPECT_EQ(ScalesOf("min_max", none), ScalesOf("min_max", {.gamma = 1, .bins = 16}));
}

}  // namespace
}  // namespace octet::runtime
