#include "tests/support/graph_maker.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "tests/support/compare.h"
#include "tests/support/reference_executor.h"

namespace octet::testing {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using graph::TensorType;
using graph::ValueId;

GraphMaker::GraphMaker(uint64_t seed) : random_(seed), graph_(kernels::Registry()) {}

ValueId GraphMaker::Input(const Shape& shape, const std::string& name) {
  graph::Input input;
  for (size_t d = 0; d < shape.size(); ++d) {
    const std::string symbol = d == 0 ? "batch" : absl::StrCat(name, ".", d);
    input.symbols.push_back(shape[d] == kUnknownDim ? symbol : "");
  }
  return graph_.AddInput(std::move(input), name, {.shape = shape});
}

ValueId GraphMaker::Weights(const Shape& shape, float deviation, float mean) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, shape);
  for (float& value : tensor.MutableAs<float>()) value = mean + deviation * random_.Normal();
  return Constant(std::move(tensor));
}

ValueId GraphMaker::Between(float low, float high, const Shape& shape) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, shape);
  for (float& value : tensor.MutableAs<float>()) value = random_.Between(low, high);
  return Constant(std::move(tensor));
}

ValueId GraphMaker::Scalar(float value) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, {});
  tensor.MutableAs<float>()[0] = value;
  return Constant(std::move(tensor));
}

ValueId GraphMaker::Ints(const std::vector<int64_t>& values) {
  return Constant(Tensor::Of<int64_t>({static_cast<int64_t>(values.size())}, values));
}

ValueId GraphMaker::Constant(Tensor tensor) {
  return graph_.AddConstant(absl::StrCat("c", names_++), std::move(tensor));
}

ValueId GraphMaker::Op(absl::string_view op, std::vector<ValueId> inputs,
                       absl::flat_hash_map<std::string, graph::Attribute> attributes, int opset) {
  const std::string name = absl::StrCat(op, names_++);
  Node node{.op = std::string(op),
            .name = name,
            .inputs = std::move(inputs),
            .outputs = {graph_.AddValue(name)},
            .attributes = std::move(attributes)};
  if (opset != 0) node.schema = graph_.registry().Find(op, opset).value();
  const ValueId output = node.outputs[0];
  graph_.AddNode(std::move(node));
  const auto types = graph::InferSymbolicTypes(graph_);
  EXPECT_TRUE(types.ok()) << types.status();
  return output;
}

void GraphMaker::Output(ValueId value) {
  graph_.AddOutput(value, graph_.value(value).name, DataType::kFloat32);
}

Graph GraphMaker::Take() {
  const auto types = graph::InferSymbolicTypes(graph_);
  EXPECT_TRUE(types.ok()) << types.status();
  return std::move(graph_);
}

std::string OpsOf(const Graph& graph) {
  const auto order = graph.TopologicalOrder();
  if (!order.ok()) return std::string(order.status().message());
  return absl::StrJoin(*order, " ", [&](std::string* out, NodeId id) {
    absl::StrAppend(out, graph.node(id).op);
    for (const graph::FusedOp& fused : graph.node(id).fused) absl::StrAppend(out, "+", fused.op);
  });
}

std::vector<Tensor> RandomInputs(const Graph& graph, RandomNumbers& random, int64_t size) {
  std::vector<Tensor> inputs;
  for (const graph::Input& input : graph.inputs()) {
    const TensorType& type = graph.value(input.value).type;
    Shape shape = type.shape;
    for (int64_t& dim : shape) dim = dim == kUnknownDim ? size : dim;
    inputs.push_back(*Tensor::Allocate(type.dtype, shape));
    for (float& value : inputs.back().MutableAs<float>()) value = random.Between(-3, 3);
  }
  return inputs;
}

int ExpectSameFunction(Graph& graph, std::span<const graph::Pass> passes, uint64_t seed,
                       double tolerance) {
  RandomNumbers random(seed ^ 0x5eed);
  const std::vector<Tensor> inputs = RandomInputs(graph, random, 2 + random.Below(3));
  const std::string text = ToText(graph);
  const auto before = RunReference(graph, inputs);
  EXPECT_TRUE(before.ok()) << before.status() << "\n" << text;
  const auto reports = graph::RunPasses(graph, passes);
  EXPECT_TRUE(reports.ok()) << reports.status() << "\n" << text;
  const auto after = RunReference(graph, inputs);
  EXPECT_TRUE(after.ok()) << after.status() << "\n" << text << "became\n" << ToText(graph);
  if (!before.ok() || !reports.ok() || !after.ok()) return 0;
  for (size_t i = 0; i < before->size(); ++i) {
    EXPECT_EQ(Difference((*after)[i], (*before)[i], (*before)[i].dtype(),
                         {.relative = tolerance, .absolute = tolerance}),
              "")
        << "output " << i << ", seed " << seed << "\n"
        << text << "became\n"
        << ToText(graph);
  }
  int rewrites = 0;
  for (const graph::PassReport& report : *reports) rewrites += report.rewrites;
  return rewrites;
}

void ExpectRewrite(PassFn pass, const Make& make, const std::string& ops) {
  constexpr uint64_t kSeeds = 20;
  const graph::Pass passes[] = {{"pass", pass}};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    GraphMaker maker(seed);
    make(maker);
    Graph graph = maker.Take();
    const std::string before = ToText(graph);
    EXPECT_GT(ExpectSameFunction(graph, passes, seed), 0) << before;
    EXPECT_EQ(OpsOf(graph), ops) << "from\n" << before;
    if (::testing::Test::HasFailure()) return;
  }
}

void ExpectDecline(PassFn pass, const Make& make, const std::string& why) {
  GraphMaker maker(7);
  make(maker);
  Graph graph = maker.Take();
  const std::string before = ToText(graph);
  const auto rewrites = pass(graph);
  ASSERT_TRUE(rewrites.ok()) << rewrites.status();
  EXPECT_EQ(*rewrites, 0) << why;
  EXPECT_EQ(ToText(graph), before) << why;
}

}  // namespace octet::testing
