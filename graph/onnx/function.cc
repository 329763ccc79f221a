// Model-local functions: a call becomes the nodes of the function's body.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "google/protobuf/unknown_field_set.h"
#include "graph/onnx/graph_builder.h"

namespace octet::graph {
namespace {

constexpr int kOldestOpset = 7;
constexpr size_t kMaxDepth = 32;  // of calls in bodies of functions

// Functions that call others twice double with every level: what all bodies add has limits.
constexpr size_t kMaxInlinedNodes = 1'000'000;
constexpr size_t kMaxInlinedBytes = size_t{1} << 30;

// FunctionProto.attribute_proto, which the protobuf classes before ONNX 1.13 do not know.
constexpr int kDefaultsField = 11;

template <typename Function>
absl::StatusOr<std::vector<onnx::AttributeProto>> ReadDefaults(const Function& function) {
  std::vector<onnx::AttributeProto> defaults;
  if constexpr (requires { function.attribute_proto(); }) {
    defaults.assign(function.attribute_proto().begin(), function.attribute_proto().end());
  } else {
    const google::protobuf::UnknownFieldSet& fields = function.unknown_fields();
    for (int i = 0; i < fields.field_count(); ++i) {
      const google::protobuf::UnknownField& field = fields.field(i);
      if (field.number() != kDefaultsField ||
          field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
        continue;
      }
      if (!defaults.emplace_back().ParseFromString(field.length_delimited())) {
        return absl::InvalidArgumentError("the default of an attribute is damaged");
      }
    }
  }
  return defaults;
}

std::string DomainOf(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

// What a node costs in memory once it is in the graph; tensors are shared by all calls.
size_t InlinedBytes(const onnx::NodeProto& node, size_t prefix) {
  size_t bytes = prefix + node.name().size();
  for (const std::string& input : node.input()) bytes += sizeof(ValueId) + input.size();
  for (const std::string& output : node.output()) bytes += prefix + output.size();
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    bytes += attribute.has_t() ? attribute.name().size() : attribute.ByteSizeLong();
  }
  return bytes;
}

}  // namespace

absl::StatusOr<Opsets> ReadOpsets(
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports, Opsets opsets) {
  for (const auto& import : imports) {
    const std::string domain = DomainOf(import.domain());
    if (import.version() < 1 || import.version() > 10'000) {
      return absl::InvalidArgumentError(
          absl::StrCat("opset version ", import.version(), " of domain '", domain, "'"));
    }
    opsets[domain] = static_cast<int>(import.version());
  }
  if (!opsets.contains("")) {
    return absl::InvalidArgumentError("the model does not say which ONNX opset it uses");
  }
  if (opsets[""] < kOldestOpset) {
    return absl::UnimplementedError(
        absl::StrCat("opset ", opsets[""], " is older than ", kOldestOpset, "; convert the model"));
  }
  return opsets;
}

absl::Status GraphBuilder::AddFunctions(const onnx::ModelProto& model) {
  for (const onnx::FunctionProto& proto : model.functions()) {
    const std::string domain = DomainOf(proto.domain());
    const std::string name =
        domain.empty() ? proto.name() : absl::StrCat(domain, ".", proto.name());
    LocalFunction function{.proto = &proto};
    absl::StatusOr<Opsets> opsets = ReadOpsets(proto.opset_import(), *opsets_);
    if (!opsets.ok()) return Annotate(opsets.status(), absl::StrCat("function ", name));
    function.opsets = *std::move(opsets);
    absl::StatusOr<std::vector<onnx::AttributeProto>> defaults = ReadDefaults(proto);
    if (!defaults.ok()) return Annotate(defaults.status(), absl::StrCat("function ", name));
    function.defaults = *std::move(defaults);
    if (!functions_.emplace(name, std::move(function)).second) {
      return absl::UnimplementedError(
          absl::StrCat("function ", name, " is defined twice; overloads are not supported"));
    }
  }
  return absl::OkStatus();
}

const onnx::AttributeProto* GraphBuilder::Resolve(const onnx::AttributeProto& attribute) const {
  if (attribute.ref_attr_name().empty()) return &attribute;
  if (calls_.empty()) return nullptr;
  const auto& given = calls_.back()->attributes;
  const auto found = given.find(attribute.ref_attr_name());
  return found == given.end() ? nullptr : found->second;
}

absl::Status GraphBuilder::CountInlined(const onnx::NodeProto& proto) {
  if (calls_.empty()) return absl::OkStatus();
  inlined_bytes_ += InlinedBytes(proto, prefix_.size());
  if (++inlined_nodes_ > kMaxInlinedNodes || inlined_bytes_ > kMaxInlinedBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the bodies of the model's functions come to more than ", kMaxInlinedNodes,
                     " nodes or ", kMaxInlinedBytes, " bytes"));
  }
  return absl::OkStatus();
}

// Numbered where the node has no name, or not one of its own.
std::string GraphBuilder::PrefixOf(const onnx::NodeProto& proto) {
  std::string prefix = absl::StrCat(prefix_, proto.name(), "/");
  if (proto.name().empty() || !prefixes_.insert(prefix).second) {
    prefix = absl::StrCat(prefix_, proto.name().empty() ? proto.op_type() : proto.name(), "#",
                          branch_count_++, "/");
  }
  return prefix;
}

absl::Status GraphBuilder::AddCall(const onnx::NodeProto& proto, const LocalFunction& function) {
  const onnx::FunctionProto& body = *function.proto;
  for (const Call* const call : calls_) {
    if (call->function == &function) {
      return absl::InvalidArgumentError("the function calls itself, directly or through others");
    }
  }
  if (calls_.size() >= kMaxDepth) {
    return absl::ResourceExhaustedError(
        absl::StrCat("is called through ", calls_.size(), " functions, supported are ", kMaxDepth));
  }
  if (proto.input_size() > body.input_size() || proto.output_size() > body.output_size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "has ", proto.input_size(), " inputs and ", proto.output_size(),
        " outputs, the function has ", body.input_size(), " and ", body.output_size()));
  }
  OCTET_ASSIGN_OR_RETURN(std::vector<ValueId> outputs, OutputsOf(proto));
  outputs.resize(static_cast<size_t>(body.output_size()), kNoValue);
  Call call{.function = &function};
  for (const onnx::AttributeProto& attribute : function.defaults) {
    call.attributes[attribute.name()] = &attribute;
  }
  for (const onnx::AttributeProto& attribute : proto.attribute()) {
    const onnx::AttributeProto* const given = Resolve(attribute);
    if (given != nullptr) call.attributes[attribute.name()] = given;
  }
  Names names;
  for (int i = 0; i < body.input_size(); ++i) {
    const ValueId value = i < proto.input_size() ? Named(proto.input(i)) : kNoValue;
    if (!names.emplace(body.input(i), value).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the function has two inputs ", body.input(i)));
    }
  }
  return AddBody(call, std::move(names), outputs, PrefixOf(proto));
}

// The body sees nothing of what is around the call: names, attributes and opsets are its own.
absl::Status GraphBuilder::AddBody(const Call& call, Names names,
                                   const std::vector<ValueId>& outputs, std::string prefix) {
  const onnx::FunctionProto& body = *call.function->proto;
  for (const onnx::NodeProto& node : body.node()) {
    for (const std::string& output : node.output()) {
      if (output.empty() || !names.contains(output)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the function computes its own input ", output));
    }
  }
  // A value that the body computes for an output of the call is that output.
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] != kNoValue) names.emplace(body.output(static_cast<int>(i)), outputs[i]);
  }
  std::swap(values_, names);
  std::vector<Names> branches = std::exchange(branches_, {});
  std::swap(prefix_, prefix);
  const Opsets* const opsets = std::exchange(opsets_, &call.function->opsets);
  calls_.push_back(&call);
  absl::Status status = AddNodeList(body.node());
  if (status.ok()) status = AddBodyOutputs(body, outputs);
  calls_.pop_back();
  opsets_ = opsets;
  std::swap(prefix_, prefix);
  branches_ = std::move(branches);
  std::swap(values_, names);
  return status;
}

// What is left are inputs that are outputs, and values that are two outputs.
absl::Status GraphBuilder::AddBodyOutputs(const onnx::FunctionProto& body,
                                          const std::vector<ValueId>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = body.output(static_cast<int>(i));
    if (outputs[i] == kNoValue) continue;
    const ValueId value = Named(name);
    if (value == outputs[i]) continue;
    if (value == kNoValue) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", name, " of the function is an input that was left out"));
    }
    OCTET_RETURN_IF_ERROR(AddIdentity(absl::StrCat(prefix_, name), value, outputs[i]));
  }
  return absl::OkStatus();
}

}  // namespace octet::graph
