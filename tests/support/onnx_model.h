// Small ONNX models, made field by field.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "onnx/onnx_pb.h"

namespace octet::testing {

inline void SetType(onnx::ValueInfoProto* info, const std::string& name, int type,
                    const std::vector<int64_t>& dims) {
  info->set_name(name);
  auto* const tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape();
  for (const int64_t dim : dims) {
    auto* const added = tensor->mutable_shape()->add_dim();
    if (dim >= 0) added->set_dim_value(dim);
  }
}

// `Container` is a GraphProto or a FunctionProto.
template <typename Container>
onnx::NodeProto* AddNode(Container* container, const std::string& op,
                         const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs, const std::string& domain = "") {
  onnx::NodeProto* const node = container->add_node();
  node->set_op_type(op);
  if (!domain.empty()) node->set_domain(domain);
  for (const std::string& input : inputs) node->add_input(input);
  for (const std::string& output : outputs) node->add_output(output);
  return node;
}

inline onnx::AttributeProto* AddAttribute(onnx::NodeProto* node, const std::string& name,
                                          onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto* const attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

// An attribute of a node in a function that is the call's attribute `reference`.
inline void AddReference(onnx::NodeProto* node, const std::string& name,
                         onnx::AttributeProto::AttributeType type, const std::string& reference) {
  AddAttribute(node, name, type)->set_ref_attr_name(reference);
}

// One input x and one output y.
inline onnx::ModelProto XyModel(const std::vector<int64_t>& dims) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  SetType(model.mutable_graph()->add_input(), "x", onnx::TensorProto::FLOAT, dims);
  SetType(model.mutable_graph()->add_output(), "y", onnx::TensorProto::FLOAT, dims);
  return model;
}

inline std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

}  // namespace octet::testing
