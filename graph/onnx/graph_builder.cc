#include "graph/onnx/graph_builder.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/onnx/tensor_proto.h"

namespace octet::graph {
namespace {

constexpr size_t kMaxListedNodes = 100;

std::string OpName(const onnx::NodeProto& node) {
  if (node.domain().empty() || node.domain() == "ai.onnx") return node.op_type();
  return absl::StrCat(node.domain(), ".", node.op_type());
}

std::string NodeName(const onnx::NodeProto& node) {
  if (!node.name().empty()) return node.name();
  for (const std::string& output : node.output()) {
    if (!output.empty()) return output;
  }
  return "unnamed";
}

struct DeclaredType {
  DataType border_type = DataType::kFloat32;
  Shape shape;
  std::vector<std::string> symbols;
};

absl::StatusOr<DeclaredType> ReadType(const onnx::ValueInfoProto& info) {
  if (!info.type().has_tensor_type()) {
    return absl::UnimplementedError("only tensors are supported, not sequences, maps or optionals");
  }
  const auto& tensor = info.type().tensor_type();
  DeclaredType type;
  OCTET_ASSIGN_OR_RETURN(type.border_type, BorderType(tensor.elem_type()));
  if (!tensor.has_shape()) {
    return absl::UnimplementedError("its number of dimensions is not declared");
  }
  for (const auto& dim : tensor.shape().dim()) {
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      type.shape.push_back(dim.dim_value());
      type.symbols.emplace_back();
      continue;
    }
    type.shape.push_back(kUnknownDim);
    type.symbols.push_back(dim.has_dim_param() && !dim.dim_param().empty()
                               ? dim.dim_param()
                               : absl::StrCat(info.name(), ".", type.symbols.size()));
  }
  return type;
}

}  // namespace

absl::StatusOr<Graph> GraphBuilder::Build(ParsedModel& model, const MappedFile* file) {
  const onnx::GraphProto& proto = model.proto.graph();
  if (proto.sparse_initializer_size() > 0) {
    return absl::UnimplementedError("sparse weights are not supported");
  }
  OCTET_RETURN_IF_ERROR(AddInitializers(model, file));
  OCTET_RETURN_IF_ERROR(AddInputs(proto));
  OCTET_RETURN_IF_ERROR(AddNodes(proto));
  OCTET_RETURN_IF_ERROR(AddOutputs(proto));
  return std::move(graph_);
}

absl::Status GraphBuilder::Define(const std::string& name, ValueId value) {
  if (name.empty()) return absl::InvalidArgumentError("a tensor has no name");
  if (!values_.emplace(name, value).second) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " is defined twice"));
  }
  return absl::OkStatus();
}

ValueId GraphBuilder::Named(const std::string& name) {
  if (name.empty()) return kNoValue;
  for (auto branch = branches_.rbegin(); branch != branches_.rend(); ++branch) {
    if (const auto found = branch->find(name); found != branch->end()) return found->second;
  }
  const auto [it, added] = values_.try_emplace(name, kNoValue);
  if (added) it->second = graph_.AddValue(absl::StrCat(prefix_, name));
  return it->second;
}

void GraphBuilder::WarnIfNarrowed(DataType border, absl::string_view what) {
  if (border == DataType::kFloat64) {
    warnings_.push_back(absl::StrCat(what, ": double is computed in float32"));
  }
}

absl::Status GraphBuilder::AddInitializers(ParsedModel& model, const MappedFile* file) {
  auto raw_data = model.raw_data.begin();
  for (onnx::TensorProto& initializer : *model.proto.mutable_graph()->mutable_initializer()) {
    const std::string context = absl::StrCat("weight ", initializer.name());
    absl::StatusOr<Tensor> tensor = DecodeTensor(initializer, external_, *raw_data++, file);
    if (!tensor.ok()) return Annotate(tensor.status(), context);
    if (initializer.data_type() == onnx::TensorProto::DOUBLE) {
      WarnIfNarrowed(DataType::kFloat64, context);
    }
    const std::string name = initializer.name();
    // Clearing a field would keep its memory.
    onnx::TensorProto().Swap(&initializer);
    OCTET_RETURN_IF_ERROR(Define(name, graph_.AddConstant(name, *std::move(tensor))));
  }
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddInputs(const onnx::GraphProto& proto) {
  for (const onnx::ValueInfoProto& info : proto.input()) {
    if (values_.contains(info.name())) continue;  // before IR version 4 weights are inputs too
    const std::string context = absl::StrCat("input ", info.name());
    absl::StatusOr<DeclaredType> type = ReadType(info);
    if (!type.ok()) return Annotate(type.status(), context);
    WarnIfNarrowed(type->border_type, context);
    const ValueId value = graph_.AddInput(
        {.border_type = type->border_type, .symbols = std::move(type->symbols)}, info.name(),
        {.dtype = ComputeType(type->border_type), .shape = std::move(type->shape)});
    OCTET_RETURN_IF_ERROR(Define(info.name(), value));
  }
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddNodeList(
    const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes) {
  for (const onnx::NodeProto& node : nodes) {
    OCTET_RETURN_IF_ERROR(CountInlined(node));
    const std::string context =
        absl::StrCat("node ", prefix_, NodeName(node), " (", OpName(node), ")");
    const absl::Status status = AddNode(node);
    if (status.code() == absl::StatusCode::kUnimplemented) {
      unsupported_.push_back(absl::StrCat(context, ": ", status.message()));
    } else if (!status.ok()) {
      return Annotate(status, context);
    }
  }
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddNodes(const onnx::GraphProto& proto) {
  first_computed_ = graph_.value_count();
  OCTET_RETURN_IF_ERROR(AddNodeList(proto.node()));
  if (!unsupported_.empty()) {
    const size_t count = unsupported_.size();
    if (count > kMaxListedNodes) {
      unsupported_.resize(kMaxListedNodes);
      unsupported_.push_back(absl::StrCat("and ", count - kMaxListedNodes, " more"));
    }
    return absl::UnimplementedError(
        absl::StrCat(count, " node(s) cannot be run:\n  ", absl::StrJoin(unsupported_, "\n  ")));
  }
  return CheckReads();
}

absl::Status GraphBuilder::CheckReads() const {
  for (const NodeId id : graph_.Nodes()) {
    for (const ValueId input : graph_.node(id).inputs) {
      if (input == kNoValue || graph_.value(input).producer || graph_.IsConstant(input)) continue;
      const auto& inputs = graph_.inputs();
      const bool is_input = std::any_of(inputs.begin(), inputs.end(),
                                        [&](const Input& i) { return i.value == input; });
      if (!is_input) {
        return absl::InvalidArgumentError(absl::StrCat("node ", graph_.node(id).name, " reads ",
                                                       graph_.value(input).name,
                                                       ", which nothing defines"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ValueId>> GraphBuilder::OutputsOf(const onnx::NodeProto& proto) {
  std::vector<ValueId> outputs;
  for (const std::string& output : proto.output()) {
    const ValueId value = Named(output);
    const bool is_input_or_weight = static_cast<size_t>(value) < first_computed_;
    if (value != kNoValue &&
        (is_input_or_weight || graph_.value(value).producer || graph_.IsConstant(value))) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", output, " is defined twice"));
    }
    outputs.push_back(value);
  }
  return outputs;
}

absl::Status GraphBuilder::AddNode(const onnx::NodeProto& proto) {
  if (OpName(proto) == "Constant") return AddConstantNode(proto);
  if (OpName(proto) == "If") return AddIf(proto);
  Node node{.op = OpName(proto), .name = absl::StrCat(prefix_, NodeName(proto))};
  const std::string domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  if (domain == "octet") return absl::UnimplementedError("the domain is Octet's own");
  const auto opset = opsets_->find(domain);
  absl::StatusOr<const OpSchema*> schema =
      graph_.registry().Find(node.op, opset == opsets_->end() ? 1 : opset->second);
  if (const auto function = functions_.find(node.op);
      !schema.ok() && function != functions_.end()) {
    return AddCall(proto, function->second);
  }
  OCTET_ASSIGN_OR_RETURN(node.outputs, OutputsOf(proto));  // also of nodes that cannot be run
  if (node.op == "Loop" || node.op == "Scan") {
    return absl::UnimplementedError(
        "loops are not supported: Octet plans every step before a request; export the model with "
        "the loop unrolled");
  }
  if (!schema.ok()) return schema.status();
  node.schema = *schema;
  if (proto.input_size() < node.schema->min_inputs ||
      proto.input_size() > node.schema->max_inputs) {
    return absl::InvalidArgumentError(absl::StrCat("has ", proto.input_size(), " inputs, expected ",
                                                   node.schema->min_inputs, " to ",
                                                   node.schema->max_inputs));
  }
  for (int i = 0; i < proto.input_size(); ++i) {
    node.inputs.push_back(Named(proto.input(i)));
    if (node.inputs.back() == kNoValue && i < node.schema->min_inputs) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is required"));
    }
  }
  for (const onnx::AttributeProto& attribute : proto.attribute()) {
    const onnx::AttributeProto* const resolved = Resolve(attribute);
    if (resolved == nullptr) continue;
    absl::StatusOr<Attribute> value = ReadAttribute(*resolved);
    if (!value.ok()) {
      return Annotate(value.status(), absl::StrCat("attribute ", attribute.name()));
    }
    node.attributes.emplace(attribute.name(), *std::move(value));
  }
  graph_.AddNode(std::move(node));
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddConstantNode(const onnx::NodeProto& proto) {
  if (proto.output_size() != 1 || proto.attribute_size() != 1) {
    return absl::InvalidArgumentError("must have one output and one attribute");
  }
  const onnx::AttributeProto* const resolved = Resolve(proto.attribute(0));
  if (resolved == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("refers to attribute ",
                                                   proto.attribute(0).ref_attr_name(),
                                                   ", which the call does not have"));
  }
  OCTET_ASSIGN_OR_RETURN(const Attribute attribute, ReadAttribute(*resolved));
  Tensor tensor;
  if (const auto* value = std::get_if<Tensor>(&attribute)) {
    tensor = *value;
  } else if (const auto* number = std::get_if<float>(&attribute)) {
    tensor = Tensor::Scalar(*number);
  } else if (const auto* integer = std::get_if<int64_t>(&attribute)) {
    tensor = Tensor::Scalar(*integer);
  } else if (const auto* floats = std::get_if<std::vector<float>>(&attribute)) {
    tensor = Tensor::Of<float>({static_cast<int64_t>(floats->size())}, *floats);
  } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&attribute)) {
    tensor = Tensor::Of<int64_t>({static_cast<int64_t>(integers->size())}, *integers);
  } else {
    return absl::UnimplementedError("string and sparse constants are not supported");
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<ValueId> outputs, OutputsOf(proto));
  if (outputs[0] == kNoValue) return absl::InvalidArgumentError("its output has no name");
  graph_.MakeConstant(outputs[0], std::move(tensor));
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddIdentity(std::string name, ValueId from, ValueId to) {
  const OpSchema* const identity = graph_.registry().FindNewest("Identity");
  if (identity == nullptr) return absl::InternalError("there is no operator Identity");
  graph_.AddNode({.op = "Identity",
                  .name = std::move(name),
                  .inputs = {from},
                  .outputs = {to},
                  .schema = identity});
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddOutputs(const onnx::GraphProto& proto) {
  if (proto.output_size() == 0) return absl::InvalidArgumentError("the model has no outputs");
  for (const onnx::ValueInfoProto& info : proto.output()) {
    const auto found = values_.find(info.name());
    if (found == values_.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", info.name(), ": nothing defines it"));
    }
    absl::StatusOr<DataType> border = absl::UnimplementedError("only tensors are supported");
    if (info.type().has_tensor_type()) border = BorderType(info.type().tensor_type().elem_type());
    if (!border.ok()) return Annotate(border.status(), absl::StrCat("output ", info.name()));
    WarnIfNarrowed(*border, absl::StrCat("output ", info.name()));
    graph_.AddOutput(found->second, info.name(), *border);
  }
  return absl::OkStatus();
}

absl::StatusOr<Attribute> GraphBuilder::ReadAttribute(const onnx::AttributeProto& proto) {
  switch (proto.type()) {
    case onnx::AttributeProto::INT:
      return Attribute(int64_t{proto.i()});
    case onnx::AttributeProto::FLOAT:
      return Attribute(proto.f());
    case onnx::AttributeProto::STRING:
      return Attribute(proto.s());
    case onnx::AttributeProto::INTS:
      return Attribute(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case onnx::AttributeProto::FLOATS:
      return Attribute(std::vector<float>(proto.floats().begin(), proto.floats().end()));
    case onnx::AttributeProto::STRINGS:
      return Attribute(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
    case onnx::AttributeProto::TENSOR: {
      if (const auto known = shared_tensors_.find(&proto.t()); known != shared_tensors_.end()) {
        return Attribute(known->second);
      }
      OCTET_ASSIGN_OR_RETURN(Tensor tensor, DecodeTensor(proto.t(), external_));
      if (!calls_.empty()) shared_tensors_.emplace(&proto.t(), tensor);
      return Attribute(std::move(tensor));
    }
    default:
      return absl::UnimplementedError("attributes of this kind are not supported");
  }
}

}  // namespace octet::graph
