#include "runtime/attention_products.h"

#include <algorithm>

#include "gtest/gtest.h"
#include "kernels/lowering.h"
#include "runtime/evaluate.h"
#include "runtime/mode.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using testing::GraphBuilder;
using testing::RandomFloats;
using Products = QuantizeOptions::AttentionProducts;

constexpr int64_t kTokens = 16, kWidth = 32;

// softmax(Q K') V of three projections.
GraphBuilder::Finished Attention() {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, kTokens, kWidth});
  const auto project = [&](const std::string& name, uint32_t seed) {
    return builder.Apply(
        "MatMul", name,
        {x, builder.Constant(name + ".w", RandomFloats({kWidth, kWidth}, seed, 0.3f))});
  };
  const ValueId keys = builder.Apply("Transpose", "turn", {project("k", 1)},
                                     {{"perm", std::vector<int64_t>{0, 2, 1}}});
  const ValueId scores = builder.Apply("MatMul", "scores", {project("q", 2), keys});
  const ValueId shares = builder.Apply("Softmax", "softmax", {scores}, {{"axis", int64_t{-1}}});
  builder.Output(builder.Apply("MatMul", "product", {shares, project("v", 3)}), "y");
  return builder.Finish(/*optimize=*/true);
}

struct Served {
  bool marked = false;
  bool bfloat16 = false;  // the step that computes attention
  Tensor output;
};

Served Dynamic(Products products) {
  const GraphBuilder::Finished model = Attention();
  QuantizeOptions options;
  options.attention = products;
  const auto quantized = QuantizeModel(model.graph, model.example_shapes, {}, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  Served run{.marked = HasBFloat16Attention(quantized->graph)};
  kernels::WeightCache weights;
  const std::vector<Shape> shapes = {{2, kTokens, kWidth}};
  const auto plan = MakePlan(quantized->graph, shapes, weights);
  EXPECT_TRUE(plan.ok()) << plan.status();
  for (const kernels::Step& step : (*plan)->program.steps) {
    if (step.op == "Attention") run.bfloat16 = step.bfloat16;
  }
  const std::vector<std::vector<Tensor>> sample = {{RandomFloats(shapes[0], 5)}};
  const auto outputs = RunAll(quantized->graph, sample, weights);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  run.output = (*outputs)[0][0];
  return run;
}

TEST(MarkAttention, ProductsAreOfBFloat16WhereTheProcessorHasIt) {
  const bool bfloat16 = ThisProcessor().bfloat16;
  const Served automatic = Dynamic(Products::kAuto), floats = Dynamic(Products::kFloat32);
  EXPECT_EQ(automatic.marked, bfloat16);
  EXPECT_EQ(automatic.bfloat16, bfloat16);
  EXPECT_FALSE(floats.marked);
  EXPECT_FALSE(floats.bfloat16);
  const auto x = automatic.output.As<float>(), y = floats.output.As<float>();
  EXPECT_EQ(std::equal(x.begin(), x.end(), y.begin()), !bfloat16);
  EXPECT_GT(OutputSqnrDb({{floats.output}}, {{automatic.output}}), 25);
}

TEST(MarkAttention, OtherProductsAreNotMarked) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, kTokens, kTokens});
  const ValueId shares = builder.Apply("Softmax", "softmax", {x}, {{"axis", int64_t{-1}}});
  const ValueId weight = builder.Constant("w", RandomFloats({kTokens, kWidth}, 1));
  builder.Output(builder.Apply("MatMul", "constant", {shares, weight}), "y");
  builder.Output(builder.Apply("MatMul", "square", {x, x}), "z");
  graph::Graph graph = builder.Finish().graph;
  MarkAttention(QuantizeOptions(), graph);
  EXPECT_FALSE(HasBFloat16Attention(graph));
}

}  // namespace
}  // namespace octet::runtime
