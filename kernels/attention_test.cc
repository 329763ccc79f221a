#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "tests/support/graph_builder.h"
#include "tests/support/run_both.h"

namespace octet::kernels {
namespace {

using graph::ValueId;
using testing::BothResults;
using ::testing::ElementsAre;
using testing::GraphBuilder;
using ::testing::IsEmpty;
using testing::RunBoth;

constexpr char kStep[] = "Attention";

struct Case {
  const char* name;
  int64_t batch, heads, rows, keys, size, value_size;
  Shape mask;  // empty: none
  float factor = 1;
  bool one_head = false;      // rank 3: [batch, rows, size]
  bool side_by_side = false;  // the result is transposed as models do
  bool bfloat16 = false;
};

class AttentionGraph {
 public:
  explicit AttentionGraph(const Case& c) : case_(c) {
    const ValueId query = Heads("query", c.rows, c.size, false);
    const ValueId key = Heads("key", c.keys, c.size, true);
    const ValueId value = Heads("value", c.keys, c.value_size, false);
    scores = builder.Apply("MatMul", "scores", {query, key});
    ValueId sum = scores;
    if (c.factor != 1) {
      sum = builder.Apply("Mul", "scaled",
                          {sum, builder.Constant("factor", Tensor::Scalar<float>(c.factor))});
    }
    if (!c.mask.empty()) sum = builder.Apply("Add", "sum", {Input("mask", c.mask), sum});
    const ValueId shares = builder.Apply("Softmax", "softmax", {sum}, {{"axis", int64_t{-1}}});
    ValueId result = builder.Apply("MatMul", "product", {shares, value});
    if (c.side_by_side) {
      result = builder.Apply("Transpose", "back", {result},
                             {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
      result = builder.Apply(
          "Reshape", "together",
          {result, builder.Constant("shape", Tensor::Of<int64_t>(
                                                 {3}, {c.batch, c.rows, c.heads * c.value_size}))});
    }
    builder.Output(result, "y");
  }

  graph::Graph Finish() {
    graph::Graph graph = builder.Finish(/*optimize=*/true).graph;
    if (!case_.bfloat16) return graph;
    for (const graph::NodeId id : graph.NodesOfType("MatMul")) {
      graph.mutable_node(id).attributes[kBFloat16Attention] = int64_t{1};
    }
    return graph;
  }

  GraphBuilder builder;
  ValueId scores{};

 private:
  ValueId Input(const std::string& name, Shape shape) {
    return builder.Input(name, std::move(shape));
  }

  // As projections leave them: [batch, tokens, heads * size].
  ValueId Heads(const std::string& name, int64_t tokens, int64_t size, bool transposed) {
    if (case_.one_head) {
      const ValueId input = Input(name, {case_.batch, tokens, size});
      if (!transposed) return input;
      return builder.Apply("Transpose", name + "_t", {input},
                           {{"perm", std::vector<int64_t>{0, 2, 1}}});
    }
    const ValueId input = Input(name, {case_.batch, tokens, case_.heads * size});
    const ValueId split = builder.Apply(
        "Reshape", name + "_heads",
        {input, builder.Constant(name + "_shape", Tensor::Of<int64_t>({4}, {case_.batch, tokens,
                                                                            case_.heads, size}))});
    const std::vector<int64_t> order =
        transposed ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1, 3};
    return builder.Apply("Transpose", name + "_t", {split}, {{"perm", order}});
  }

  const Case case_;
};

float LargestError(const BothResults& results) {
  float largest = 0;
  const auto expected = results.expected[0].As<float>(), actual = results.actual[0].As<float>();
  for (size_t i = 0; i < expected.size(); ++i) {
    const float error = std::abs(expected[i] - actual[i]);
    largest = std::isnan(error) ? HUGE_VALF : std::max(largest, error);
  }
  return largest;
}

class AttentionTest : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionTest, IsWhatItsPartsCompute) {
  if (GetParam().bfloat16 && !HasBFloat16()) GTEST_SKIP() << "needs a CPU with bfloat16";
  const BothResults results = RunBoth(AttentionGraph(GetParam()).Finish(), kStep);
  ASSERT_EQ(results.actual.size(), 1u);
  EXPECT_THAT(results.implementations, ElementsAre("octet:attention"));
  // Values lie between -2 and 2.
  if (GetParam().bfloat16) {
    EXPECT_LT(LargestError(results), 0.06f);
    EXPECT_GT(LargestError(results), 1e-4f) << "nothing was rounded";
  } else {
    EXPECT_LT(LargestError(results), 5e-5f);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, AttentionTest,
    ::testing::Values(
        Case{"plain", 2, 3, 8, 8, 16, 16},
        Case{"one_token", 1, 4, 1, 9, 8, 8, {}, 0.5f, false, true},
        Case{"masked_keys", 8, 12, 128, 128, 32, 32, {8, 1, 1, 128}, 0.177f, false, true},
        Case{"one_mask_for_all", 3, 2, 40, 24, 16, 8, {24}, 0.25f, false, true},
        Case{"mask_of_rows_and_keys", 2, 6, 70, 70, 8, 8, {70, 70}, 0.5f, false, true},
        Case{"mask_of_all", 2, 3, 33, 17, 8, 24, {2, 3, 33, 17}, 0.5f, false, true},
        Case{"mask_of_heads", 2, 8, 64, 64, 16, 16, {1, 8, 64, 64}, 1, false, false},
        Case{"one_head", 4, 1, 30, 50, 20, 12, {}, 0.2f, true},
        Case{"one_head_masked", 4, 1, 30, 50, 20, 12, {4, 1, 50}, 0.2f, true},
        Case{"long", 1, 2, 640, 640, 16, 16, {1, 1, 1, 640}, 0.25f, false, true},
        Case{"long_with_mask_of_rows", 1, 2, 320, 640, 16, 16, {320, 640}, 0.25f, false, true},
        Case{"long_and_prime", 2, 1, 521, 521, 8, 8, {521, 521}, 0.25f, false, true},
        Case{"bfloat16", 2, 12, 128, 128, 32, 32, {2, 1, 1, 128}, 0.177f, false, true, true},
        Case{"bfloat16_odd", 3, 5, 37, 23, 11, 7, {}, 0.3f, false, false, true},
        Case{"bfloat16_one_head", 2, 1, 20, 30, 16, 16, {30}, 1, true, false, true}),
    [](const auto& info) { return info.param.name; });

// No kernel adds this mask fast: the parts are steps of their own.
TEST(AttentionTest, AMaskOfRowsIsAddedByAStepOfItsOwn) {
  const Case rows{"", 2, 4, 50, 60, 16, 16, {2, 1, 50, 1}, 1, false, true};
  const BothResults results = RunBoth(AttentionGraph(rows).Finish(), kStep);
  ASSERT_EQ(results.actual.size(), 1u);
  EXPECT_THAT(results.implementations, IsEmpty());
  EXPECT_LT(LargestError(results), 5e-5f);
}

TEST(FindAttention, WhatOthersReadStaysAStepOfItsOwn) {
  AttentionGraph both({"", 2, 3, 8, 8, 16, 16});
  both.builder.Output(both.scores, "scores");
  const BothResults results = RunBoth(both.Finish(), kStep);
  EXPECT_THAT(results.implementations, IsEmpty());
  ASSERT_EQ(results.actual.size(), 2u);
  EXPECT_LT(LargestError(results), 5e-5f);
}

TEST(FindAttention, OtherAxesAndBatchesAreNot) {
  for (const int64_t axis : {1, 2, 3}) {
    GraphBuilder builder;
    const ValueId left = builder.Input("left", {2, 3, 8, 8});
    const ValueId right = builder.Input("right", {2, 1, 8, 8});
    const ValueId scores = builder.Apply("MatMul", "scores", {left, axis == 3 ? right : left});
    const ValueId shares = builder.Apply("Softmax", "softmax", {scores}, {{"axis", axis}});
    builder.Output(builder.Apply("MatMul", "product", {shares, left}), "y");
    const BothResults results = RunBoth(builder.Finish(true).graph, kStep);
    EXPECT_THAT(results.implementations, IsEmpty()) << axis;
    ASSERT_EQ(results.actual.size(), 1u);
    EXPECT_LT(LargestError(results), 1e-4f) << axis;
  }
}

TEST(ChunkOf, FitsTheCacheAndCoversEverything) {
  for (const int64_t batch : {1, 3, 8}) {
    for (const int64_t heads : {1, 5, 12}) {
      for (const int64_t rows : {1, 16, 128, 521, 2048}) {
        for (const int64_t keys : {1, 128, 521, 4096}) {
          const AttentionChunk chunk = ChunkOf(batch, heads, rows, keys);
          EXPECT_EQ(batch % chunk.batch + heads % chunk.heads + rows % chunk.rows, 0);
          const int64_t bytes = 4 * chunk.batch * chunk.heads * chunk.rows * keys;
          const bool one_head = chunk.batch == 1 && chunk.heads == 1;
          EXPECT_TRUE(bytes <= 128 << 10 || (one_head && (chunk.rows <= 32 || rows == 521)))
              << batch << " " << heads << " " << rows << " " << keys;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
