#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "graph/onnx/import.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "onnx/onnx_pb.h"
#include "tests/support/reference_executor.h"

namespace octet::graph {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void SetType(onnx::ValueInfoProto* info, const std::string& name, int type,
             const std::vector<int64_t>& dims) {
  info->set_name(name);
  auto* const tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape();
  for (const int64_t dim : dims) tensor->mutable_shape()->add_dim()->set_dim_value(dim);
}

onnx::NodeProto* AddNode(onnx::GraphProto* graph, const std::string& op,
                         const std::vector<std::string>& inputs, const std::string& output) {
  onnx::NodeProto* const node = graph->add_node();
  node->set_op_type(op);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  return node;
}

void AddNumber(onnx::GraphProto* graph, const std::string& name, float number) {
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  tensor->add_dims(1);
  tensor->add_float_data(number);
}

void AddBool(onnx::GraphProto* graph, const std::string& name, bool value) {
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::BOOL);
  tensor->add_int32_data(value ? 1 : 0);
}

onnx::GraphProto* Branch(onnx::NodeProto* node, const std::string& name) {
  onnx::AttributeProto* const attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::GRAPH);
  return attribute->mutable_g();
}

// A branch that gives outer value x times `factor`. Both branches, and those of all Ifs, name their
// values alike.
void FillBranch(onnx::GraphProto* branch, float factor) {
  AddNumber(branch, "factor", factor);
  AddNode(branch, "Mul", {"x", "factor"}, "scaled");
  AddNode(branch, "Identity", {"scaled"}, "result");
  branch->add_output()->set_name("result");
}

onnx::NodeProto* AddIf(onnx::GraphProto* graph, const std::string& condition,
                       const std::string& output, float then_factor, float else_factor) {
  onnx::NodeProto* const node = AddNode(graph, "If", {condition}, output);
  FillBranch(Branch(node, "then_branch"), then_factor);
  FillBranch(Branch(node, "else_branch"), else_factor);
  return node;
}

// Input x [2], output y [2].
onnx::ModelProto EmptyModel() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  SetType(model.mutable_graph()->add_input(), "x", onnx::TensorProto::FLOAT, {2});
  SetType(model.mutable_graph()->add_output(), "y", onnx::TensorProto::FLOAT, {2});
  return model;
}

absl::StatusOr<ImportedModel> Import(const onnx::ModelProto& model) {
  const std::string bytes = model.SerializeAsString();
  return ImportOnnx(std::as_bytes(std::span(bytes)), "", kernels::Registry());
}

// y for x = [3, 5].
std::vector<float> RunModel(const onnx::ModelProto& model) {
  const absl::StatusOr<ImportedModel> imported = Import(model);
  EXPECT_TRUE(imported.ok()) << imported.status().message();
  if (!imported.ok()) return {};
  EXPECT_TRUE(imported->graph.Verify().ok());
  const std::vector<Tensor> inputs = {Tensor::Of<float>({2}, {3, 5})};
  const auto outputs = testing::RunReference(imported->graph, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  if (!outputs.ok()) return {};
  const auto y = (*outputs)[0].As<float>();
  return {y.begin(), y.end()};
}

TEST(Branch, IsChosenByAConstantCondition) {
  for (const bool condition : {true, false}) {
    onnx::ModelProto model = EmptyModel();
    AddBool(model.mutable_graph(), "condition", condition);
    AddIf(model.mutable_graph(), "condition", "y", 10, 100);
    const float factor = condition ? 10 : 100;
    EXPECT_THAT(RunModel(model), ElementsAre(3 * factor, 5 * factor));
  }
}

TEST(Branch, IsChosenByAComputedCondition) {
  onnx::ModelProto model = EmptyModel();
  onnx::GraphProto* const graph = model.mutable_graph();
  AddNumber(graph, "one", 1);
  AddNumber(graph, "two", 2);
  AddNode(graph, "Less", {"two", "one"}, "less");
  AddNode(graph, "Not", {"less"}, "condition");
  AddIf(graph, "condition", "y", 10, 100);
  EXPECT_THAT(RunModel(model), ElementsAre(30, 50));
}

TEST(Branch, KeepsNamesOfSeveralBranchesApart) {
  onnx::ModelProto model = EmptyModel();
  onnx::GraphProto* const graph = model.mutable_graph();
  AddBool(graph, "yes", true);
  AddBool(graph, "no", false);
  AddNumber(graph, "factor", 1000);  // hidden in the branches
  AddIf(graph, "yes", "a", 10, 0);
  AddIf(graph, "no", "b", 0, 7);
  AddNode(graph, "Add", {"a", "b"}, "sum");
  AddNode(graph, "Add", {"sum", "factor"}, "y");
  EXPECT_THAT(RunModel(model), ElementsAre(1051, 1085));
}

TEST(Branch, MayGiveOuterValuesAndWeights) {
  onnx::ModelProto model = EmptyModel();
  onnx::GraphProto* const graph = model.mutable_graph();
  AddBool(graph, "yes", true);
  onnx::NodeProto* const node = AddNode(graph, "If", {"yes"}, "same");
  node->add_output("weight_out");
  onnx::GraphProto* const branch = Branch(node, "then_branch");
  AddNumber(branch, "weight", 4);
  branch->add_output()->set_name("x");
  branch->add_output()->set_name("weight");
  Branch(node, "else_branch");
  AddNode(graph, "Mul", {"same", "weight_out"}, "y");
  EXPECT_THAT(RunModel(model), ElementsAre(12, 20));
}

// `depth` Ifs, each but the last in the branch of the one before.
onnx::ModelProto Nested(int depth) {
  onnx::ModelProto model = EmptyModel();
  onnx::GraphProto* graph = model.mutable_graph();
  AddBool(graph, "yes", true);
  std::string output = "y";
  for (int i = 1; i < depth; ++i) {
    onnx::NodeProto* const node = AddNode(graph, "If", {"yes"}, output);
    Branch(node, "else_branch");
    graph = Branch(node, "then_branch");
    output = "inner";
    graph->add_output()->set_name(output);
  }
  AddIf(graph, "yes", output, 2, 0);
  return model;
}

TEST(Branch, MayHoldBranches) { EXPECT_THAT(RunModel(Nested(16)), ElementsAre(6, 10)); }

TEST(Branch, IsRefusedTooDeep) {
  const absl::StatusOr<ImportedModel> model = Import(Nested(17));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("is inside 16 others"));
}

TEST(Branch, IsRefusedWhereTheRequestDecides) {
  onnx::ModelProto model = EmptyModel();
  SetType(model.mutable_graph()->add_input(), "condition", onnx::TensorProto::BOOL, {});
  AddIf(model.mutable_graph(), "condition", "y", 10, 100);
  const absl::Status status = Import(model).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("node y (If): its condition is not known before a request"));
}

TEST(Branch, IsRefusedForAConditionThatIsNoBool) {
  onnx::ModelProto model = EmptyModel();
  AddNumber(model.mutable_graph(), "condition", 1);
  AddIf(model.mutable_graph(), "condition", "y", 10, 100);
  EXPECT_EQ(Import(model).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Branch, MustDefineTheOutputs) {
  onnx::ModelProto model = EmptyModel();
  AddBool(model.mutable_graph(), "yes", true);
  onnx::NodeProto* const node = AddNode(model.mutable_graph(), "If", {"yes"}, "y");
  Branch(node, "then_branch")->add_output()->set_name("nowhere");
  Branch(node, "else_branch");
  const absl::Status status = Import(model).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("reads nowhere"));
}

TEST(Loop, IsRefusedWithAReason) {
  onnx::ModelProto model = EmptyModel();
  AddNode(model.mutable_graph(), "Loop", {"", "", "x"}, "y");
  const absl::Status status = Import(model).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("loops are not supported"));
}

}  // namespace
}  // namespace octet::graph
