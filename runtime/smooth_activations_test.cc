#include "runtime/smooth_activations.h"

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

constexpr int64_t kWidth = 32;

// A block as transformers have it: normalization, a product, GELU, a product, and with `residual`
// an addition that reads the normalized value too. Channel 3 of gamma is 60 times the others, and
// so is channel 5 behind the GELU. `flattened`: rows of the batch become one dimension between.
GraphBuilder::Finished Block(bool residual, bool flattened = true) {
  GraphBuilder builder;
  Tensor gamma = RandomFloats({kWidth}, 1);
  gamma.MutableAs<float>()[3] = 60;
  Tensor up = RandomFloats({kWidth, kWidth}, 2, 0.2f);
  for (int64_t i = 0; i < kWidth; ++i) up.MutableAs<float>()[i * kWidth + 5] *= 60;
  const ValueId x = builder.Input("x", {kUnknownDim, 4, kWidth});
  const ValueId normalized = builder.Apply(
      "LayerNormalization", "norm",
      {x, builder.Constant("gamma", gamma), builder.Constant("beta", RandomFloats({kWidth}, 3))});
  ValueId y = builder.Apply("MatMul", "up", {normalized, builder.Constant("up.w", up)});
  y = builder.Apply("Gelu", "gelu", {y});
  if (flattened) {
    y = builder.Apply("Gemm", "down_rows",
                      {builder.Apply("Flatten", "flat", {y}, {{"axis", int64_t{2}}}),
                       builder.Constant("down.w", RandomFloats({16, kWidth}, 4, 0.2f))},
                      {{"transB", int64_t{1}}});
  } else {
    y = builder.Apply("MatMul", "down",
                      {y, builder.Constant("down.w", RandomFloats({kWidth, 16}, 4, 0.2f))});
  }
  builder.Output(y, "y");
  if (residual) builder.Output(builder.Apply("Relu", "relu", {normalized}), "z");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Data(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 4, kWidth}, static_cast<uint32_t>(50 + i))});
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

TEST(SmoothActivations, KeepsTheFunctionAndShrinksOutliers) {
  for (const bool residual : {false, true}) {
    const Graph exact = Block(residual).graph;
    Graph smooth = exact;
    const auto report = SmoothActivations(smooth, Data(4).samples, 0.8);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->activations, 2);
    // Another reader of the normalized value wants it as it was.
    EXPECT_EQ(report->folded, residual ? 0 : 1);
    EXPECT_LT(report->worst_ratio_after, report->worst_ratio_before / 3);
    EXPECT_GT(SqnrDb(exact, smooth, Data(8)), 98);
  }
}

TEST(SmoothActivations, LayersInFrontDivideAtTheEndOfTheirChains) {
  const GraphBuilder::Finished block = Block(/*residual=*/false, /*flattened=*/false);
  Graph smooth = block.graph;
  const auto report = SmoothActivations(smooth, Data(16).samples, 0.8);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->folded, 2);
  EXPECT_EQ(smooth.TopologicalOrder()->size(), block.graph.TopologicalOrder()->size());
  EXPECT_GT(SqnrDb(block.graph, smooth, Data(8)), 98);
  const QuantizeOptions options{.on_fail = OnFail::kWarn};
  const auto plain = QuantizeModel(block.graph, block.example_shapes, Data(16), options);
  const auto smoothed = QuantizeModel(smooth, block.example_shapes, Data(16), options);
  const auto dynamic = QuantizeModel(smooth, block.example_shapes, {}, options);
  ASSERT_TRUE(plain.ok() && smoothed.ok() && dynamic.ok());
  const double before = SqnrDb(block.graph, plain->graph, Data(40));
  EXPECT_GT(SqnrDb(block.graph, smoothed->graph, Data(40)), before + 6);
  EXPECT_GT(SqnrDb(block.graph, dynamic->graph, Data(40)), before + 6);
}

TEST(SmoothActivations, MakesInt8MoreAccurate) {
  const GraphBuilder::Finished block = Block(true);
  Graph smooth = block.graph;
  ASSERT_TRUE(SmoothActivations(smooth, Data(16).samples, 0.8).ok());
  const QuantizeOptions options{.on_fail = OnFail::kWarn};
  const auto plain = QuantizeModel(block.graph, block.example_shapes, Data(16), options);
  const auto smoothed = QuantizeModel(smooth, block.example_shapes, Data(16), options);
  ASSERT_TRUE(plain.ok() && smoothed.ok()) << plain.status() << smoothed.status();
  EXPECT_GT(SqnrDb(block.graph, smoothed->graph, Data(40)),
            SqnrDb(block.graph, plain->graph, Data(40)) + 6);
}

TEST(SmoothActivations, ChoosesAlphaByTheNoiseThatIsLeft) {
  const GraphBuilder::Finished block = Block(true);
  const QuantizeOptions options{.on_fail = OnFail::kWarn};
  const auto with = [&](std::optional<double> alpha) {
    Graph smooth = block.graph;
    EXPECT_TRUE(SmoothActivations(smooth, Data(16).samples, alpha).ok());
    const auto quantized = QuantizeModel(smooth, block.example_shapes, Data(16), options);
    EXPECT_TRUE(quantized.ok()) << quantized.status();
    return SqnrDb(block.graph, quantized->graph, Data(40));
  };
  const double automatic = with(std::nullopt);
  for (const double alpha : {0.3, 0.5, 0.8, 1.0}) EXPECT_GT(automatic, with(alpha) - 1.5) << alpha;
}

TEST(SmoothActivations, AtAlphaZeroWeightsDecideAlone) {
  Graph smooth = Block(false).graph;
  const Graph exact = smooth;
  ASSERT_TRUE(SmoothActivations(smooth, Data(2).samples, 0).ok());
  EXPECT_GT(SqnrDb(exact, smooth, Data(4)), 98);
}

TEST(SmoothActivations, NeedsSamplesAndAnAlphaWithinItsRange) {
  Graph graph = Block(false).graph;
  EXPECT_EQ(SmoothActivations(graph, {}, 0.8).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SmoothActivations(graph, Data(2).samples, 1.5).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace octet::runtime
