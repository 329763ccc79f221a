#include "runtime/row_ranges.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/self_check.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RandomFloats;

constexpr int64_t kTokens = 4, kDepth = 64, kColumns = 24;

// Two matrix products, the second behind a ReLU.
GraphBuilder::Finished Products() {
  GraphBuilder builder;
  graph::ValueId x = builder.Input("x", {kUnknownDim, kTokens, kDepth});
  x = builder.Apply("MatMul", "up",
                    {x, builder.Constant("up.w", RandomFloats({kDepth, kDepth}, 1, 0.2f))});
  x = builder.Apply("Relu", "relu", {x});
  x = builder.Apply("MatMul", "down",
                    {x, builder.Constant("down.w", RandomFloats({kDepth, kColumns}, 2, 0.2f))});
  builder.Output(x, "y");
  return builder.Finish(/*optimize=*/true);
}

// Samples whose first token is `factor` times larger than the others, with all values raised.
std::vector<std::vector<Tensor>> Tokens(int64_t rows, float factor, float raised = 0) {
  Tensor x = RandomFloats({rows, kTokens, kDepth}, 7);
  const auto values = x.MutableAs<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] += raised;
    if (i / kDepth % kTokens == 0) values[i] *= factor;
  }
  return {{x}};
}

QuantizedModel Dynamic(const GraphBuilder::Finished& model, const QuantizeOptions& options) {
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, {}, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

std::vector<float> OutputOf(const graph::Graph& graph,
                            const std::vector<std::vector<Tensor>>& samples) {
  kernels::WeightCache weights;
  const auto outputs = RunAll(graph, samples, weights);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  const auto values = (*outputs)[0][0].As<float>();
  return {values.begin(), values.end()};
}

// Of all tokens but the first, which is the large one.
double NoiseOfSmallTokens(const std::vector<float>& exact, const std::vector<float>& other) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (i / kColumns % kTokens == 0) continue;
    signal += double{exact[i]} * exact[i];
    noise += (double{exact[i]} - other[i]) * (double{exact[i]} - other[i]);
  }
  return noise / signal;
}

TEST(RowRanges, ALargeTokenCostsTheOthersTheirPrecisionWhereTheyShareARange) {
  const GraphBuilder::Finished model = Products();
  const auto samples = Tokens(1, 200);
  const std::vector<float> exact = OutputOf(model.graph, samples);
  const auto noise = [&](const QuantizeOptions& options) {
    return NoiseOfSmallTokens(exact, OutputOf(Dynamic(model, options).graph, samples));
  };
  const double by_token = noise({}), together = noise({.ranges_by_token = false});
  EXPECT_LT(by_token, 1e-3);
  EXPECT_GT(together, 100 * by_token);
  const double one_layer = noise({.layers = {{.match = "down", .by_token = false}}});
  EXPECT_GT(one_layer, 10 * by_token);
  EXPECT_LT(one_layer, together);
}

TEST(RowRanges, RowsOfABatchShareNoRange) {
  const GraphBuilder::Finished model = Products();
  const QuantizedModel quantized = Dynamic(model, {.ranges_by_token = false});
  std::vector<std::vector<Tensor>> two = Tokens(2, 1);
  for (float& value : two[0][0].MutableAs<float>().subspan(kTokens * kDepth)) value *= 100;
  const auto first = two[0][0].As<float>().first(kTokens * kDepth);
  const Tensor alone = Tensor::Of<float>({1, kTokens, kDepth}, {first.begin(), first.end()});
  const std::vector<float> both = OutputOf(quantized.graph, two);
  const std::vector<float> one = OutputOf(quantized.graph, {{alone}});
  EXPECT_EQ(one, std::vector<float>(both.begin(), both.begin() + kTokens * kColumns));
}

TEST(RowRanges, SymmetricCodesLoseWhatTheyDoNotUse) {
  const GraphBuilder::Finished model = Products();
  const auto samples = Tokens(1, 1, 2);  // most values are positive
  const std::vector<float> exact = OutputOf(model.graph, samples);
  const auto noise = [&](const QuantizeOptions& options) {
    return NoiseOfSmallTokens(exact, OutputOf(Dynamic(model, options).graph, samples));
  };
  const double asymmetric = noise({}), symmetric = noise({.symmetric_activations = true});
  EXPECT_GT(symmetric, asymmetric);
  EXPECT_EQ(noise({.symmetric_activations = true, .layers = {{.match = "*", .symmetric = false}}}),
            asymmetric);
}

TEST(RowRanges, KernelsAreRightInEveryForm) {
  const GraphBuilder::Finished model = Products();
  for (const bool symmetric : {false, true}) {
    for (const bool by_token : {false, true}) {
      const QuantizedModel quantized =
          Dynamic(model, {.symmetric_activations = symmetric, .ranges_by_token = by_token});
      kernels::WeightCache weights;
      const std::vector<Shape> shapes = {{3, kTokens, kDepth}};
      const auto checked = CheckInt8Layers(quantized.graph, shapes, weights);
      ASSERT_TRUE(checked.ok()) << checked.status();
      EXPECT_EQ(checked->checked, 2);
      EXPECT_THAT(checked->mismatches, IsEmpty());
    }
  }
}

TEST(RowRanges, SymmetricStaticCodesHaveTheirZeroInTheMiddleOrAtTheEnd) {
  const GraphBuilder::Finished model = Products();
  CalibrationData data{.source = "memory"};
  for (int i = 0; i < 8; ++i) data.samples.push_back(Tokens(1, 1, 0.3f)[0]);
  const auto zero_points = [&](QuantizeOptions options) {
    options.timing = QuantizeOptions::Timing::kStatic;
    options.on_fail = OnFail::kWarn;
    const auto quantized = QuantizeModel(model.graph, model.example_shapes, data, options);
    EXPECT_TRUE(quantized.ok()) << quantized.status();
    std::vector<int32_t> found;
    for (const graph::NodeId id : quantized->graph.NodesOfType("MatMul")) {
      const auto& node = quantized->graph.node(id);
      found.push_back(quantized->graph.value(node.inputs[0]).type.quant->zero_points[0]);
    }
    return found;
  };
  const std::vector<int32_t> asymmetric = zero_points({});
  EXPECT_LT(asymmetric.at(0), 120);
  EXPECT_EQ(asymmetric.at(1), 0);  // behind the ReLU
  EXPECT_EQ(zero_points({.symmetric_activations = true}), (std::vector<int32_t>{128, 0}));
  EXPECT_EQ(zero_points({.layers = {{.match = "up", .symmetric = true}}}),
            (std::vector<int32_t>{128, 0}));
  EXPECT_EQ(
      zero_points({.symmetric_activations = true, .layers = {{.match = "up", .symmetric = false}}}),
      asymmetric);
}

TEST(RowRanges, AConvolutionHasNoTokens) {
  graph::Node node{.op = "Conv", .name = "c"};
  EXPECT_TRUE(CheckRowRanges(node, {.match = "*", .by_token = false}).ok());
  EXPECT_THAT(std::string(CheckRowRanges(node, {.match = "*", .by_token = true}).message()),
              AllOf(HasSubstr("Q007"), HasSubstr("layer c"), HasSubstr("per_token")));
  node.op = "Gemm";
  EXPECT_TRUE(CheckRowRanges(node, {.match = "*", .by_token = true}).ok());
}

}  // namespace
}  // namespace octet::runtime
