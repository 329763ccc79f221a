#include "tests/support/reference_executor.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "tests/support/compare.h"

namespace octet::testing {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::QuantParams;
using graph::ValueId;
using ::testing::ElementsAre;

// x (1x1x1x4) through a 1x1 Conv with weight 2.
struct ConvGraph {
  ConvGraph() : graph(kernels::Registry()) {
    x = graph.AddInput({.symbols = {"", "", "", ""}}, "x", {.shape = {1, 1, 1, 4}});
    const ValueId w = graph.AddConstant("w", Tensor::Of<float>({1, 1, 1, 1}, {2}));
    y = graph.Apply("Conv", "conv", {x, w});
    graph.AddOutput(y, "y", DataType::kFloat32);
    conv = *graph.value(y).producer;
  }

  std::vector<float> Run() {
    const Tensor input = Tensor::Of<float>({1, 1, 1, 4}, {-2, -1, 1, 2});
    const auto outputs = RunReference(graph, {input});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    if (!outputs.ok()) return {};
    const auto values = (*outputs)[0].As<float>();
    return {values.begin(), values.end()};
  }

  Graph graph;
  ValueId x, y;
  NodeId conv;
};

TEST(RunReference, ComputesNodes) { EXPECT_THAT(ConvGraph().Run(), ElementsAre(-4, -2, 2, 4)); }

TEST(RunReference, AppliesFusedOperatorsInOrder) {
  ConvGraph model;
  model.graph.mutable_node(model.conv).inputs.resize(3, graph::kNoValue);
  model.graph.SetInput(model.conv, 3, model.x);
  model.graph.mutable_node(model.conv).fused = {{.op = "Add", .input = 3}, {.op = "Relu"}};
  EXPECT_THAT(model.Run(), ElementsAre(0, 0, 3, 6));
  model.graph.mutable_node(model.conv).fused = {{.op = "Relu"}, {.op = "Add", .input = 3}};
  EXPECT_THAT(model.Run(), ElementsAre(-2, -1, 3, 6));
}

TEST(RunReference, ClipsToTheFusedBounds) {
  ConvGraph model;
  model.graph.mutable_node(model.conv).fused = {{.op = "Clip", .alpha = -3, .beta = 2}};
  EXPECT_THAT(model.Run(), ElementsAre(-3, -2, 2, 2));
}

TEST(RunReference, RoundsHalfToEvenAndSaturates) {
  ConvGraph model;
  model.graph.mutable_type(model.y) = {
      .dtype = DataType::kUint8, .quant = QuantParams{.scales = {4.0f / 5}, .zero_points = {3}}};
  const auto outputs =
      RunReference(model.graph, {Tensor::Of<float>({1, 1, 1, 4}, {-2, 0.2f, 0.6f, 200})});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  // -4 / 0.8 + 3 = -2; 0.4 / 0.8 = 0.5 -> 0; 1.2 / 0.8 = 1.5 -> 2; 400 / 0.8 + 3 = 503.
  EXPECT_THAT((*outputs)[0].As<uint8_t>(), ElementsAre(0, 3, 5, 255));
}

TEST(RunReference, DequantizesOperands) {
  ConvGraph model;
  const ValueId w =
      model.graph.AddConstant("codes", Tensor::Of<int8_t>({1, 1, 1, 1}, {7}),
                              QuantParams{.scales = {0.5f}, .zero_points = {1}, .axis = 0});
  model.graph.SetInput(model.conv, 1, w);
  EXPECT_THAT(model.Run(), ElementsAre(-6, -3, 3, 6));
}

TEST(Difference, SeesTypeShapeAndValue) {
  const Tensor ones = Tensor::Of<float>({2}, {1, 1});
  EXPECT_EQ(Difference(ones, ones, DataType::kFloat32), "");
  EXPECT_NE(Difference(ones, Tensor::Of<float>({1, 2}, {1, 1}), DataType::kFloat32), "");
  EXPECT_NE(Difference(ones, Tensor::Of<int32_t>({2}, {1, 1}), DataType::kFloat32), "");
  EXPECT_NE(Difference(ones, Tensor::Of<float>({2}, {1, 1.01f}), DataType::kFloat32), "");
  EXPECT_NE(Difference(ones, Tensor::Of<float>({2}, {1, NAN}), DataType::kFloat32), "");
}

}  // namespace
}  // namespace octet::testing
