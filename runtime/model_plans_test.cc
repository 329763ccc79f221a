#include "runtime/model_plans.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;
using testing::GraphBuilder;
using testing::RandomFloats;

// A product with weights of 64 KiB, and an elementwise step. Any number of rows.
Graph Product() {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 128});
  const ValueId product =
      builder.Apply("MatMul", "product", {x, builder.Constant("w", RandomFloats({128, 128}, 1))});
  builder.Output(builder.Apply("Relu", "relu", {product}), "y");
  return builder.Finish().graph;
}

// Without the weights' bytes, as if they lay packed in a form that nobody wants.
Graph Released(Graph graph) {
  for (size_t i = 0; i < graph.value_count(); ++i) {
    if (graph.IsConstant(static_cast<ValueId>(i))) graph.ReleaseBytes(static_cast<ValueId>(i));
  }
  return graph;
}

std::vector<Shape> Rows(int64_t rows) { return {{rows, 128}}; }

std::vector<float> RunOnce(ModelPlans& plans, int64_t rows) {
  const auto plan = plans.Find(Rows(rows));
  EXPECT_TRUE(plan.ok()) << plan.status();
  if (!plan.ok()) return {};
  absl::StatusOr<PlanRunner> runner = PlanRunner::Create(*plan);
  EXPECT_TRUE(runner.ok()) << runner.status();
  const std::vector<Tensor> inputs = {RandomFloats({rows, 128}, 2)};
  const auto outputs = runner->Run(inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  const auto values = (*outputs)[0].As<float>();
  return {values.begin(), values.end()};
}

TEST(ModelPlans, APlanIsMadeOnce) {
  ModelPlans plans(Product(), nullptr);
  const auto first = plans.Find(Rows(3));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*plans.Find(Rows(3)), *first);
  EXPECT_NE(*plans.Find(Rows(4)), *first);
}

TEST(ModelPlans, ShapesTheGraphCannotTakeAreRefused) {
  ModelPlans plans(Product(), nullptr);
  const std::vector<Shape> narrow = {{3, 127}};
  EXPECT_EQ(plans.Find(narrow).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(plans.Find({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(plans.Find(Rows(3)).ok());
}

TEST(ModelPlans, ActivationsHaveALimit) {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 1});
  value = builder.Apply("Relu", "relu", {value});
  builder.Output(builder.Apply("Neg", "neg", {value}), "y");
  ModelPlans plans(builder.Finish().graph, nullptr);
  // Input and output of 6 GiB each are within the limit for a tensor, both are not for an arena.
  const std::vector<Shape> shapes = {{int64_t{3} << 29, 1}};
  EXPECT_EQ(plans.Find(shapes).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ModelPlans, TheLeastRecentlyUsedGoesFirstAndPinnedPlansStay) {
  ModelPlans plans(Product(), nullptr);
  const std::weak_ptr<const Plan> pinned = *plans.Pin(Rows(1));
  const std::weak_ptr<const Plan> oldest = *plans.Find(Rows(2));
  const std::weak_ptr<const Plan> touched = *plans.Find(Rows(3));
  for (int64_t rows = 4; rows <= static_cast<int64_t>(ModelPlans::kMaxPlans); ++rows) {
    ASSERT_TRUE(plans.Find(Rows(rows)).ok());
  }
  EXPECT_FALSE(oldest.expired());  // kMaxPlans plans, nothing had to go
  ASSERT_TRUE(plans.Find(Rows(3)).ok());
  ASSERT_TRUE(plans.Find(Rows(1000)).ok());
  EXPECT_TRUE(oldest.expired());
  EXPECT_FALSE(touched.expired());
  EXPECT_FALSE(pinned.expired());
  ASSERT_TRUE(plans.Find(Rows(2)).ok());  // made again
}

TEST(ModelPlans, WeightsAreSharedByPlans) {
  ModelPlans plans(Product(), nullptr);
  ASSERT_TRUE(plans.Find(Rows(1)).ok());
  const size_t once = plans.served_weight_bytes();
  EXPECT_GE(once, 128u * 128 * 4);
  EXPECT_LT(once, 128u * 128 * 4 * 3 / 2);
  for (int64_t rows = 2; rows < 9; ++rows) ASSERT_TRUE(plans.Find(Rows(rows)).ok());
  EXPECT_EQ(plans.served_weight_bytes(), once);
}

TEST(ModelPlans, ReleasedWeightsStillServeNewShapes) {
  ModelPlans plans(Product(), nullptr);
  ASSERT_TRUE(plans.Pin(Rows(8)).ok());
  const std::vector<float> before = RunOnce(plans, 5);
  ModelPlans released(Product(), nullptr);
  ASSERT_TRUE(released.Pin(Rows(8)).ok());
  released.ReleaseWeights();
  EXPECT_EQ(RunOnce(released, 5), before);
  EXPECT_EQ(before.size(), 5u * 128);
}

// What shapes alone decide on, a table of positions for example, no kernel has read yet.
TEST(ModelPlans, WeightsThatWereNeverPackedStay) {
  ModelPlans plans(Product(), nullptr);
  plans.ReleaseWeights();
  ModelPlans whole(Product(), nullptr);
  EXPECT_EQ(RunOnce(plans, 7), RunOnce(whole, 7));
}

TEST(ModelPlans, WeightsInAnotherFormComeFromTheFile) {
  int rebuilt = 0;
  ModelPlans plans(Released(Product()), [&]() -> absl::StatusOr<Graph> {
    ++rebuilt;
    return Product();
  });
  ModelPlans whole(Product(), nullptr);
  EXPECT_EQ(RunOnce(plans, 7), RunOnce(whole, 7));
  EXPECT_EQ(rebuilt, 1);
  // From now on they are in the cache.
  EXPECT_EQ(RunOnce(plans, 9), RunOnce(whole, 9));
  EXPECT_EQ(rebuilt, 1);
}

TEST(ModelPlans, WithoutTheFileMissingWeightsAreAnError) {
  ModelPlans plans(Released(Product()), nullptr);
  EXPECT_EQ(plans.Find(Rows(2)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ModelPlans, AFileThatChangedIsNotMixedIn) {
  ModelPlans plans(Released(Product()), []() -> absl::StatusOr<Graph> {
    GraphBuilder builder;
    const ValueId x = builder.Input("x", {kUnknownDim, 128});
    builder.Output(
        builder.Apply("MatMul", "product", {x, builder.Constant("w", RandomFloats({128, 64}, 1))}),
        "y");
    return builder.Finish().graph;
  });
  EXPECT_EQ(plans.Find(Rows(2)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ModelPlans, PackedWeightsMayComeFromOutside) {
  auto cache = std::make_unique<kernels::WeightCache>();
  const Graph graph = Product();
  ASSERT_TRUE(MakePlan(graph, Rows(4), *cache).ok());
  ModelPlans plans(graph, nullptr, std::move(cache));
  plans.ReleaseWeights();
  ModelPlans whole(graph, nullptr);
  EXPECT_EQ(RunOnce(plans, 3), RunOnce(whole, 3));
}

TEST(ModelPlans, ManyShapesShareOnePackedWeight) {
  ModelPlans plans(Product(), nullptr);
  ASSERT_TRUE(plans.Pin(Rows(64)).ok());
  const size_t once = plans.served_weight_bytes();
  plans.ReleaseWeights();
  for (int64_t rows = 1; rows < 300; rows += 7) ASSERT_TRUE(plans.Find(Rows(rows)).ok()) << rows;
  EXPECT_EQ(plans.served_weight_bytes(), once);
}

TEST(ModelPlans, KeepPinnedForgetsOtherPlansAndTheirWeights) {
  ModelPlans plans(Product(), nullptr);
  const auto kept = plans.Pin(Rows(4));
  ASSERT_TRUE(kept.ok());
  plans.ReleaseWeights();
  const size_t bytes = plans.served_weight_bytes();
  const std::weak_ptr<const Plan> dropped = *plans.Find(Rows(5));
  plans.KeepPinned();
  EXPECT_TRUE(dropped.expired());
  EXPECT_EQ(*plans.Find(Rows(4)), *kept);
  EXPECT_EQ(plans.served_weight_bytes(), bytes);
}

}  // namespace
}  // namespace octet::runtime
