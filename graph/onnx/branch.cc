// If: the branch that is taken becomes part of the graph around it.

#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/graph_builder.h"
#include "graph/onnx/tensor_proto.h"

namespace octet::graph {
namespace {

constexpr size_t kMaxDepth = 16;  // of Ifs in branches of Ifs
// Nodes that a condition may depend on. Conditions are small arithmetic on constants; the rest
// depends on the request, which should not take long to find out for every If of a large model.
constexpr size_t kMaxConditionNodes = 4096;

absl::Status UnknownCondition() {
  return absl::UnimplementedError(
      "its condition is not known before a request; only a condition that is constant, or computed "
      "from constants, is supported");
}

const onnx::GraphProto* FindBranch(const onnx::NodeProto& proto, absl::string_view name) {
  for (const onnx::AttributeProto& attribute : proto.attribute()) {
    if (attribute.name() == name && attribute.type() == onnx::AttributeProto::GRAPH &&
        attribute.has_g()) {
      return &attribute.g();
    }
  }
  return nullptr;
}

// The nodes that `value` is computed by, producers first; none if it takes an input of the graph,
// a value that nothing has defined yet, or too many nodes.
std::optional<std::vector<NodeId>> ConstantAncestors(const Graph& graph, ValueId value) {
  struct Visit {
    NodeId node;
    size_t next_input = 0;
  };
  std::vector<NodeId> order;
  std::vector<Visit> stack;
  absl::flat_hash_set<NodeId> seen;
  const auto enter = [&](ValueId id) {
    if (id == kNoValue || graph.IsConstant(id)) return true;
    const std::optional<NodeId> producer = graph.value(id).producer;
    if (!producer) return false;
    if (seen.insert(*producer).second) stack.push_back({*producer});
    return seen.size() <= kMaxConditionNodes;
  };
  if (!enter(value)) return std::nullopt;
  while (!stack.empty()) {
    Visit& top = stack.back();
    const std::vector<ValueId>& inputs = graph.node(top.node).inputs;
    if (top.next_input == inputs.size()) {
      order.push_back(top.node);
      stack.pop_back();
    } else if (!enter(inputs[top.next_input++])) {
      return std::nullopt;
    }
  }
  return order;
}

}  // namespace

absl::Status GraphBuilder::AddIf(const onnx::NodeProto& proto) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<ValueId> outputs, OutputsOf(proto));
  const onnx::GraphProto* const then_branch = FindBranch(proto, "then_branch");
  const onnx::GraphProto* const else_branch = FindBranch(proto, "else_branch");
  if (proto.input_size() != 1 || proto.input(0).empty() || then_branch == nullptr ||
      else_branch == nullptr) {
    return absl::InvalidArgumentError("must have one input, a then_branch and an else_branch");
  }
  absl::flat_hash_set<ValueId> distinct;
  for (const ValueId output : outputs) {
    if (output != kNoValue && !distinct.insert(output).second) {
      return absl::InvalidArgumentError("has two outputs of the same name");
    }
  }
  if (branches_.size() >= kMaxDepth) {
    return absl::UnimplementedError(
        absl::StrCat("is inside ", branches_.size(), " others, supported are ", kMaxDepth));
  }
  OCTET_ASSIGN_OR_RETURN(const bool condition, EvaluateCondition(Named(proto.input(0))));
  // Numbered, because branches of different Ifs often name their values alike.
  const std::string prefix =
      absl::StrCat(prefix_, proto.name().empty() ? "If" : proto.name(), "#", branch_count_++, "/");
  const absl::Status status = AddBranch(condition ? *then_branch : *else_branch, prefix, outputs);
  return status.ok() ? status : Annotate(status, condition ? "then_branch" : "else_branch");
}

absl::StatusOr<bool> GraphBuilder::EvaluateCondition(ValueId condition) {
  OCTET_ASSIGN_OR_RETURN(const bool known, FoldInto(condition));
  if (!known) return UnknownCondition();
  const Tensor& tensor = *graph_.value(condition).constant;
  if (tensor.dtype() != DataType::kBool || tensor.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("expected a condition of one BOOL, found ",
                                                   Name(tensor.dtype()), " of shape ",
                                                   octet::ToText(tensor.shape())));
  }
  return tensor.As<bool>()[0];
}

// Makes `value` and what it is computed from constants. False if it depends on the request.
absl::StatusOr<bool> GraphBuilder::FoldInto(ValueId value) {
  const std::optional<std::vector<NodeId>> nodes = ConstantAncestors(graph_, value);
  if (!nodes) return false;
  for (const NodeId id : *nodes) {
    const Node& node = graph_.node(id);
    OCTET_ASSIGN_OR_RETURN(std::optional<std::vector<Tensor>> results,
                           EvaluateConstant(graph_, node));
    if (!results) return false;
    const std::vector<ValueId> outputs = node.outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) graph_.MakeConstant(outputs[i], std::move((*results)[i]));
    }
    graph_.RemoveNode(id);
  }
  return graph_.IsConstant(value);
}

absl::Status GraphBuilder::AddBranch(const onnx::GraphProto& branch, const std::string& prefix,
                                     const std::vector<ValueId>& outputs) {
  if (branch.sparse_initializer_size() > 0) {
    return absl::UnimplementedError("sparse weights are not supported");
  }
  if (branch.input_size() > 0 || static_cast<size_t>(branch.output_size()) < outputs.size()) {
    return absl::InvalidArgumentError(absl::StrCat("has ", branch.input_size(), " inputs and ",
                                                   branch.output_size(),
                                                   " outputs, expected none and ", outputs.size()));
  }
  branches_.emplace_back();
  absl::Status status = NameBranchValues(branch, prefix, outputs);
  if (status.ok()) status = AddBranchInitializers(branch);
  if (status.ok()) status = AddNodeList(branch.node());
  if (status.ok()) status = AddBranchOutputs(branch, prefix, outputs);
  branches_.pop_back();
  return status;
}

// A value that the branch computes for an output of the If is that output; the others are new.
absl::Status GraphBuilder::NameBranchValues(const onnx::GraphProto& branch,
                                            const std::string& prefix,
                                            const std::vector<ValueId>& outputs) {
  Names names;
  const auto define = [&](const std::string& name) {
    return name.empty() || names.emplace(name, kNoValue).second;
  };
  for (const onnx::TensorProto& initializer : branch.initializer()) {
    if (initializer.name().empty() || !define(initializer.name())) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight '", initializer.name(), "' is defined twice or has no name"));
    }
  }
  for (const onnx::NodeProto& node : branch.node()) {
    for (const std::string& output : node.output()) {
      if (define(output)) continue;
      return absl::InvalidArgumentError(absl::StrCat("tensor ", output, " is defined twice"));
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto found = names.find(branch.output(static_cast<int>(i)).name());
    if (found != names.end() && found->second == kNoValue) found->second = outputs[i];
  }
  for (auto& [name, value] : names) {
    if (value == kNoValue) value = graph_.AddValue(absl::StrCat(prefix, name));
  }
  branches_.back() = std::move(names);
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddBranchInitializers(const onnx::GraphProto& branch) {
  for (const onnx::TensorProto& initializer : branch.initializer()) {
    const std::string context = absl::StrCat("weight ", initializer.name());
    absl::StatusOr<Tensor> tensor = DecodeTensor(initializer, external_);
    if (!tensor.ok()) return Annotate(tensor.status(), context);
    if (initializer.data_type() == onnx::TensorProto::DOUBLE) {
      WarnIfNarrowed(DataType::kFloat64, context);
    }
    graph_.MakeConstant(Named(initializer.name()), *std::move(tensor));
  }
  return absl::OkStatus();
}

// What is left are values from outside the branch, and values that are two outputs.
absl::Status GraphBuilder::AddBranchOutputs(const onnx::GraphProto& branch,
                                            const std::string& prefix,
                                            const std::vector<ValueId>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = branch.output(static_cast<int>(i)).name();
    if (name.empty()) return absl::InvalidArgumentError("an output has no name");
    const ValueId value = Named(name);
    if (outputs[i] == kNoValue || value == outputs[i]) continue;
    OCTET_RETURN_IF_ERROR(AddIdentity(absl::StrCat(prefix, name), value, outputs[i]));
  }
  return absl::OkStatus();
}

}  // namespace octet::graph
