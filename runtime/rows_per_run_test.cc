#include "runtime/rows_per_run.h"

#include <memory>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using testing::GraphBuilder;
using testing::RandomFloats;

TEST(RowsPerRun, LargerInputsRunFewerRows) {
  const std::vector<Shape> example = {{1, 100}, {1, 3, 100}};
  const RowsPerRun eight(8, example);
  EXPECT_EQ(eight.For(example), 8);
  EXPECT_EQ(eight.For(std::vector<Shape>{{5, 200}, {5, 3, 200}}), 4);
  EXPECT_EQ(eight.For(std::vector<Shape>{{5, 300}, {5, 3, 300}}), 2);
  EXPECT_EQ(eight.For(std::vector<Shape>{{5, 5000}, {5, 3, 5000}}), 1);
  EXPECT_EQ(eight.For(std::vector<Shape>{{5, 50}, {5, 3, 50}}), 16);
  EXPECT_EQ(RowsPerRun().For(example), 0);
}

TEST(SplitBatch, RunsHoldAllRowsAndNoRunIsIdle) {
  const std::vector<int64_t> sizes = {1, 2, 4, 8, 12};
  for (const int64_t per_run : {0, 1, 2, 3, 4, 8, 16}) {
    for (int64_t rows = 1; rows < 50; ++rows) {
      const BatchRuns split = SplitBatch(rows, per_run, sizes);
      EXPECT_GE(split.rows * split.runs, rows);
      EXPECT_LT(split.rows * (split.runs - 1), rows);
      EXPECT_LE(split.runs, split.max_runs);
      EXPECT_TRUE(per_run != 0 || split.max_runs == 1);
      EXPECT_TRUE(split.runs == 1 || split.rows == per_run);
    }
  }
}

TEST(SplitBatch, BatchesOfTheBatcherShareOnePlan) {
  const std::vector<int64_t> sizes = {1, 2, 4, 8, 16};
  for (int64_t rows = 4; rows <= 16; ++rows) {
    const BatchRuns split = SplitBatch(rows, 4, sizes);
    EXPECT_EQ(split.rows, 4);
    EXPECT_EQ(split.max_runs, 4);
  }
  EXPECT_EQ(SplitBatch(3, 8, sizes).rows, 4);  // padded to a compiled size
  EXPECT_EQ(SplitBatch(17, 4, sizes).max_runs, SplitBatch(31, 4, sizes).max_runs);
}

TEST(MeasureRowsPerRun, ChoosesASizeThatDividesTheWork) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 64});
  builder.Output(
      builder.Apply("MatMul", "product", {x, builder.Constant("w", RandomFloats({64, 64}, 1))}),
      "y");
  ModelPlans plans(builder.Finish().graph, nullptr);
  const std::vector<Shape> example = {{1, 64}};
  const auto rows = MeasureRowsPerRun(plans, example, 8);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(*rows == 1 || *rows == 2 || *rows == 4 || *rows == 8) << *rows;
}

TEST(MeasureRowsPerRun, ABatchWithAConstantAmongItsOutputsRunsWhole) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 4});
  builder.Output(builder.Apply("Relu", "relu", {x}), "y");
  builder.Output(builder.Constant("c", RandomFloats({2, 4}, 1)), "z");
  ModelPlans plans(builder.Finish().graph, nullptr);
  const std::vector<Shape> example = {{1, 4}};
  const auto rows = MeasureRowsPerRun(plans, example, 8);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows, 0);
}

}  // namespace
}  // namespace octet::runtime
