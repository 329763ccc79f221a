// Operators that move or interpolate elements, behind producers that leave other layouts than
// row-major: a Transpose (any order of dimensions) and a Conv (blocks of channels).

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "graph/graph.h"
#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/weight_cache.h"
#include "tests/support/compare.h"
#include "tests/support/program_executor.h"
#include "tests/support/reference_executor.h"

namespace octet::kernels {
namespace {

using graph::Graph;
using graph::ValueId;
using Attributes = absl::flat_hash_map<std::string, graph::Attribute>;

struct Case {
  std::string op;
  std::vector<std::optional<Tensor>> constants = {};  // the inputs after the first
  Attributes attributes = {};
  int outputs = 1;
  bool joins_producer_twice = false;  // Concat
};

Tensor Ints(std::vector<int64_t> values) {
  return Tensor::Of<int64_t>({static_cast<int64_t>(values.size())}, values);
}
Tensor Floats(std::vector<float> values) {
  return Tensor::Of<float>({static_cast<int64_t>(values.size())}, values);
}

// The value they read is [1,32,6,10].
std::vector<Case> Cases() {
  const std::string linear = "linear", cubic = "cubic", reflect = "reflect", wrap = "wrap";
  return {
      {"Slice", {Ints({16}), Ints({32}), Ints({1})}},
      {"Slice", {Ints({3}), Ints({21}), Ints({1})}},
      {"Slice", {Ints({5, -1}), Ints({0, -9}), Ints({2, 3}), Ints({-2, -3})}},
      {"Split", {Ints({16, 16})}, {{"axis", int64_t{1}}}, 2},
      {"Split", {Ints({5, 27})}, {{"axis", int64_t{1}}}, 2},
      {"Split", {Ints({2, 0, 8})}, {{"axis", int64_t{-1}}}, 3},
      {"Concat", {}, {{"axis", int64_t{1}}}, 1, true},
      {"Concat", {}, {{"axis", int64_t{-1}}}, 1, true},
      {"Pad", {Ints({0, 0, 1, 2, 0, 0, 3, 4}), Tensor::Scalar<float>(7)}},
      {"Pad", {Ints({0, 1, 0, -2, 0, 3, 0, 1})}, {{"mode", reflect}}},
      {"Pad", {Ints({0, 0, 8, 1, 0, 0, 0, 0})}, {{"mode", wrap}}},
      {"Resize", {std::nullopt, Floats({1, 1, 2, 2})}},
      {"Resize", {std::nullopt, Floats({1, 1, 2, 2})}, {{"mode", linear}}},
      {"Resize", {std::nullopt, std::nullopt, Ints({1, 32, 4, 25})}, {{"mode", cubic}}},
      {"Resize", {std::nullopt, std::nullopt, Ints({1, 20, 6, 3})}, {{"mode", linear}}},
      {"Expand", {Ints({3, 32, 6, 10})}},
      {"Tile", {Ints({2, 1, 1, 3})}},
      {"DepthToSpace", {}, {{"blocksize", int64_t{2}}}},
      {"SpaceToDepth", {}, {{"blocksize", int64_t{2}}}},
      {"Gather", {Ints({3, -1, 3})}, {{"axis", int64_t{1}}}},
      {"Transpose", {}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}},
      {"Transpose", {}, {{"perm", std::vector<int64_t>{3, 1, 0, 2}}}},
  };
}

void AddCase(Graph& graph, const Case& test, ValueId x) {
  graph::Node node{.op = test.op, .name = "node", .inputs = {x}, .attributes = test.attributes};
  if (test.joins_producer_twice) node.inputs.push_back(x);
  for (const auto& constant : test.constants) {
    node.inputs.push_back(constant ? graph.AddConstant("constant", *constant) : graph::kNoValue);
  }
  for (int i = 0; i < test.outputs; ++i) node.outputs.push_back(graph.AddValue("output"));
  const std::vector<ValueId> outputs = node.outputs;
  graph.AddNode(std::move(node));
  for (const ValueId output : outputs) graph.AddOutput(output, "output", DataType::kFloat32);
}

void CheckAgainstReference(const Graph& graph, const Tensor& input) {
  const auto expected = testing::RunReference(graph, {input});
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto concrete = graph::Specialize(graph, std::vector<Shape>{input.shape()});
  ASSERT_TRUE(concrete.ok()) << concrete.status();
  WeightCache weights;
  const auto program = LowerGraph(*concrete, weights);
  ASSERT_TRUE(program.ok()) << program.status();
  const auto actual = testing::RunProgram(*program, {input});
  ASSERT_TRUE(actual.ok()) << actual.status();
  ASSERT_EQ(actual->size(), expected->size());
  for (size_t i = 0; i < actual->size(); ++i) {
    EXPECT_EQ(testing::Difference((*actual)[i], (*expected)[i], DataType::kFloat32,
                                  {.relative = 1e-4, .absolute = 1e-4}),
              "");
  }
}

Tensor Ramp(Shape shape) {
  std::vector<float> values(static_cast<size_t>(ElementCount(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i * 7919) % 1000);
  return Tensor::Of<float>(std::move(shape), values);
}

TEST(Layouts, AfterTransposes) {
  const std::vector<std::pair<Shape, std::vector<int64_t>>> producers = {
      {{1, 6, 10, 32}, {0, 3, 1, 2}},  // leaves the channels last
      {{10, 6, 32, 1}, {3, 2, 1, 0}},
      {{32, 1, 6, 10}, {1, 0, 2, 3}},
  };
  for (const Case& test : Cases()) {
    for (const auto& [shape, permutation] : producers) {
      SCOPED_TRACE(::testing::Message() << test.op << " after " << ToText(shape));
      Graph graph(Registry());
      const ValueId x = graph.AddInput({}, "x", {.shape = shape});
      AddCase(graph, test, graph.Apply("Transpose", "producer", {x}, {{"perm", permutation}}));
      CheckAgainstReference(graph, Ramp(shape));
    }
  }
}

TEST(Layouts, AfterConvolutions) {
  for (const Case& test : Cases()) {
    SCOPED_TRACE(test.op);
    Graph graph(Registry());
    const Shape shape = {1, 16, 6, 10};
    const ValueId x = graph.AddInput({}, "x", {.shape = shape});
    std::vector<float> weights(32 * 16);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 13) / 64 - 0.1f;
    const ValueId w = graph.AddConstant("w", Tensor::Of<float>({32, 16, 1, 1}, weights));
    AddCase(graph, test, graph.Apply("Conv", "producer", {x, w}));
    CheckAgainstReference(graph, Ramp(shape));
  }
}

}  // namespace
}  // namespace octet::kernels
