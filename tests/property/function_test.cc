// Model-local functions are inlined: names, attributes, opsets, limits.

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "graph/onnx/import.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "tests/support/onnx_model.h"
#include "tests/support/reference_executor.h"

namespace octet::graph {
namespace {

using octet::testing::AddAttribute;
using octet::testing::AddNode;
using octet::testing::AddReference;
using octet::testing::XyModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Type = onnx::AttributeProto;

constexpr char kDomain[] = "local";

onnx::FunctionProto* AddFunction(onnx::ModelProto& model, const std::string& name,
                                 const std::vector<std::string>& inputs,
                                 const std::vector<std::string>& outputs) {
  onnx::FunctionProto* const function = model.add_functions();
  function->set_domain(kDomain);
  function->set_name(name);
  for (const std::string& input : inputs) function->add_input(input);
  for (const std::string& output : outputs) function->add_output(output);
  function->add_opset_import()->set_version(17);
  return function;
}

absl::StatusOr<ImportedModel> Import(const std::string& bytes) {
  return ImportOnnx(testing::AsBytes(bytes), "", kernels::Registry());
}

// y for x = [3, -5].
std::vector<float> RunModel(const std::string& bytes) {
  const absl::StatusOr<ImportedModel> imported = Import(bytes);
  EXPECT_TRUE(imported.ok()) << imported.status().message();
  if (!imported.ok()) return {};
  EXPECT_TRUE(imported->graph.Verify().ok());
  const std::vector<Tensor> inputs = {Tensor::Of<float>({2}, {3, -5})};
  const auto outputs = testing::RunReference(imported->graph, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  if (!outputs.ok()) return {};
  const auto y = (*outputs)[0].As<float>();
  return {y.begin(), y.end()};
}

// scale(a) = leaky_relu(a, slope) * factor, where the call says slope and factor. The body's names
// are those of the model around it.
void AddScale(onnx::ModelProto& model) {
  onnx::FunctionProto* const scale = AddFunction(model, "Scale", {"y"}, {"x"});
  scale->add_attribute("slope");
  scale->add_attribute("factor");
  AddReference(AddNode(scale, "LeakyRelu", {"y"}, {"t"}), "alpha", Type::FLOAT, "slope");
  AddReference(AddNode(scale, "Constant", {}, {"f"}), "value_float", Type::FLOAT, "factor");
  AddNode(scale, "Mul", {"t", "f"}, {"x"});
}

onnx::NodeProto* CallScale(onnx::GraphProto* graph, const std::string& from, const std::string& to,
                           float slope, float factor) {
  onnx::NodeProto* const node = AddNode(graph, "Scale", {from}, {to}, kDomain);
  AddAttribute(node, "slope", Type::FLOAT)->set_f(slope);
  AddAttribute(node, "factor", Type::FLOAT)->set_f(factor);
  return node;
}

TEST(Function, IsInlinedWithTheAttributesOfEachCall) {
  onnx::ModelProto model = XyModel({2});
  AddScale(model);
  CallScale(model.mutable_graph(), "x", "t", 0.1F, 10);  // 30, -5
  CallScale(model.mutable_graph(), "t", "y", 0.5F, 2);   // 60, -5
  EXPECT_THAT(RunModel(model.SerializeAsString()), ElementsAre(60, -5));
}

TEST(Function, MayCallOthersAndHandAttributesOn) {
  onnx::ModelProto model = XyModel({2});
  AddScale(model);
  onnx::FunctionProto* const outer = AddFunction(model, "Outer", {"a"}, {"sum", "a"});
  outer->add_attribute("k");
  onnx::NodeProto* const call = AddNode(outer, "Scale", {"a"}, {"s"}, kDomain);
  AddReference(call, "factor", Type::FLOAT, "k");
  AddAttribute(call, "slope", Type::FLOAT)->set_f(0.2F);
  AddNode(outer, "Add", {"s", "a"}, {"sum"});
  onnx::NodeProto* const node =
      AddNode(model.mutable_graph(), "Outer", {"x"}, {"sum", "same"}, kDomain);
  AddAttribute(node, "k", Type::FLOAT)->set_f(100);  // sum: 303, -105
  AddNode(model.mutable_graph(), "Sub", {"sum", "same"}, {"y"});
  EXPECT_THAT(RunModel(model.SerializeAsString()), ElementsAre(300, -100));
}

TEST(Function, LeavesOutWhatTheCallLeavesOut) {
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Limit", {"a", "low", "high"}, {"b"});
  AddNode(function, "Clip", {"a", "low", "high"}, {"c"});
  AddReference(AddNode(function, "LeakyRelu", {"c"}, {"b"}), "alpha", Type::FLOAT, "slope");
  auto* const one = AddAttribute(AddNode(model.mutable_graph(), "Constant", {}, {"one"}),
                                 "value_float", Type::FLOAT);
  one->set_f(1);
  AddNode(model.mutable_graph(), "Limit", {"x", "", "one"}, {"y"}, kDomain);
  // LeakyRelu's own default slope is 0.01.
  EXPECT_THAT(RunModel(model.SerializeAsString()), ElementsAre(1, ::testing::FloatEq(-0.05F)));
}

// Field 11 of a FunctionProto, which not every version of ONNX's classes knows.
TEST(Function, HasDefaultsForAttributes) {
  onnx::AttributeProto slope;
  slope.set_name("slope");
  slope.set_type(Type::FLOAT);
  slope.set_f(2);
  const std::string value = slope.SerializeAsString();
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Leak", {"a"}, {"b"});
  AddReference(AddNode(function, "LeakyRelu", {"a"}, {"b"}), "alpha", Type::FLOAT, "slope");
  const std::string bytes =
      function->SerializeAsString() + "\x5a" + static_cast<char>(value.size()) + value;
  ASSERT_TRUE(function->ParseFromString(bytes));
  AddNode(model.mutable_graph(), "Leak", {"x"}, {"t"}, kDomain);
  onnx::NodeProto* const given = AddNode(model.mutable_graph(), "Leak", {"t"}, {"y"}, kDomain);
  AddAttribute(given, "slope", Type::FLOAT)->set_f(3);
  EXPECT_THAT(RunModel(model.SerializeAsString()), ElementsAre(3, -30));
}

TEST(Function, HasItsOwnOpset) {
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Sum", {"a"}, {"b"});
  function->mutable_opset_import(0)->set_version(12);
  // Until opset 13 the axes of ReduceSum were an attribute.
  AddAttribute(AddNode(function, "ReduceSum", {"a"}, {"b"}), "axes", Type::INTS)->add_ints(0);
  AddNode(model.mutable_graph(), "Sum", {"x"}, {"s"}, kDomain);
  AddNode(model.mutable_graph(), "Add", {"x", "s"}, {"y"});
  EXPECT_THAT(RunModel(model.SerializeAsString()), ElementsAre(1, -7));
}

TEST(Function, SeesNothingOfTheModelAroundIt) {
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Peek", {"a"}, {"b"});
  AddNode(function, "Add", {"a", "x"}, {"b"});
  AddNode(model.mutable_graph(), "Peek", {"x"}, {"y"}, kDomain)->set_name("peek");
  const absl::Status status = Import(model.SerializeAsString()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("reads peek/x, which nothing defines"));
}

TEST(Function, TensorsOfItsBodyAreSharedByCalls) {
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Shift", {"a"}, {"b"});
  onnx::TensorProto* const tensor =
      AddAttribute(AddNode(function, "Constant", {}, {"c"}), "value", Type::TENSOR)->mutable_t();
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  tensor->add_dims(1);
  tensor->add_float_data(7);
  AddNode(function, "Add", {"a", "c"}, {"b"});
  AddNode(model.mutable_graph(), "Shift", {"x"}, {"t"}, kDomain);
  AddNode(model.mutable_graph(), "Shift", {"t"}, {"y"}, kDomain);
  const auto imported = Import(model.SerializeAsString());
  ASSERT_TRUE(imported.ok()) << imported.status();
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < imported->graph.value_count(); ++i) {
    const auto& constant = imported->graph.value(static_cast<ValueId>(i)).constant;
    if (constant) ids.push_back(constant->id());
  }
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], ids[1]);
}

TEST(Function, UnsupportedNodesAreListedWithTheirCall) {
  onnx::ModelProto model = XyModel({2});
  onnx::FunctionProto* const function = AddFunction(model, "Odd", {"a"}, {"b"});
  AddNode(function, "Mystery", {"a"}, {"b"})->set_name("inner");
  AddNode(model.mutable_graph(), "Odd", {"x"}, {"t"}, kDomain)->set_name("first");
  AddNode(model.mutable_graph(), "Odd", {"t"}, {"y"}, kDomain)->set_name("second");
  const absl::Status status = Import(model.SerializeAsString()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 node(s)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("first/inner (Mystery)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("second/inner (Mystery)"));
}

TEST(Function, MustNotCallItself) {
  onnx::ModelProto model = XyModel({2});
  AddNode(AddFunction(model, "A", {"a"}, {"b"}), "B", {"a"}, {"b"}, kDomain);
  AddNode(AddFunction(model, "B", {"a"}, {"b"}), "A", {"a"}, {"b"}, kDomain);
  AddNode(model.mutable_graph(), "A", {"x"}, {"y"}, kDomain);
  const absl::Status status = Import(model.SerializeAsString()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("calls itself"));
}

// f0 is one node, and each f calls the one before `calls` times.
onnx::ModelProto Levels(int levels, int calls) {
  onnx::ModelProto model = XyModel({2});
  AddNode(AddFunction(model, "f0", {"v0"}, {"out"}), "Abs", {"v0"}, {"out"});
  for (int level = 1; level < levels; ++level) {
    onnx::FunctionProto* const function =
        AddFunction(model, absl::StrCat("f", level), {"v0"}, {absl::StrCat("v", calls)});
    for (int call = 0; call < calls; ++call) {
      AddNode(function, absl::StrCat("f", level - 1), {absl::StrCat("v", call)},
              {absl::StrCat("v", call + 1)}, kDomain);
    }
  }
  AddNode(model.mutable_graph(), absl::StrCat("f", levels - 1), {"x"}, {"y"}, kDomain);
  return model;
}

TEST(Function, ExpansionHasLimits) {
  EXPECT_THAT(RunModel(Levels(32, 1).SerializeAsString()), ElementsAre(3, 5));
  const absl::Status deep = Import(Levels(33, 1).SerializeAsString()).status();
  EXPECT_EQ(deep.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(deep.message()), HasSubstr("through 32 functions"));
  const absl::Status wide = Import(Levels(9, 10).SerializeAsString()).status();
  EXPECT_EQ(wide.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(wide.message()), HasSubstr("more than 1000000 nodes"));
}

TEST(Function, CallsMustFit) {
  onnx::ModelProto many = XyModel({2});
  AddScale(many);
  AddNode(many.mutable_graph(), "Scale", {"x", "x"}, {"y"}, kDomain);
  EXPECT_EQ(Import(many.SerializeAsString()).status().code(), absl::StatusCode::kInvalidArgument);

  onnx::ModelProto overwriting = XyModel({2});
  AddNode(AddFunction(overwriting, "F", {"a"}, {"a"}), "Abs", {"a"}, {"a"});
  AddNode(overwriting.mutable_graph(), "F", {"x"}, {"y"}, kDomain);
  EXPECT_THAT(std::string(Import(overwriting.SerializeAsString()).status().message()),
              HasSubstr("computes its own input a"));

  onnx::ModelProto twice = XyModel({2});
  AddScale(twice);
  AddScale(twice);
  CallScale(twice.mutable_graph(), "x", "y", 1, 1);
  EXPECT_EQ(Import(twice.SerializeAsString()).status().code(), absl::StatusCode::kUnimplemented);

  onnx::ModelProto missing = XyModel({2});
  AddScale(missing);
  AddNode(missing.mutable_graph(), "Scale", {"x"}, {"y"}, kDomain);
  EXPECT_THAT(std::string(Import(missing.SerializeAsString()).status().message()),
              HasSubstr("refers to attribute factor, which the call does not have"));
}

}  // namespace
}  // namespace octet::graph
