#include "graph/passes/expansion.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::graph {

bool Expansion::IsRead(size_t output) const {
  if (output >= node_.outputs.size() || node_.outputs[output] == kNoValue) return false;
  const ValueId value = node_.outputs[output];
  return !graph_.value(value).consumers.empty() || graph_.IsGraphOutput(value);
}

ValueId Expansion::Apply(absl::string_view op, std::vector<ValueId> inputs, Attributes attributes) {
  return graph_.Apply(op, absl::StrCat(node_.name, "/", op), std::move(inputs),
                      std::move(attributes));
}

std::vector<ValueId> Expansion::ApplySplit(ValueId value, int64_t axis,
                                           std::vector<int64_t> sizes) {
  std::vector<ValueId> parts;
  parts.reserve(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    parts.push_back(graph_.AddValue(absl::StrCat(node_.name, "/part", i)));
  }
  graph_.AddNode({.op = "Split",
                  .name = absl::StrCat(node_.name, "/Split"),
                  .inputs = {value, Ints(std::move(sizes))},
                  .outputs = parts,
                  .attributes = {{"axis", axis}}});
  return parts;
}

ValueId Expansion::Constant(Tensor tensor) {
  return graph_.AddConstant(absl::StrCat(node_.name, "/constant"), std::move(tensor));
}

ValueId Expansion::Float(float value) {
  return Constant(Tensor::Of<float>({1}, {value}).Reshaped({}));
}

ValueId Expansion::Int(int64_t value) {
  return Constant(Tensor::Of<int64_t>({1}, {value}).Reshaped({}));
}

ValueId Expansion::Ints(std::vector<int64_t> values) {
  return Constant(Tensor::Of<int64_t>({static_cast<int64_t>(values.size())}, values));
}

ValueId Expansion::AddIf(ValueId value, ValueId addend) {
  return addend == kNoValue ? value : Apply("Add", {value, addend});
}

ValueId Expansion::Transposed(ValueId value, std::vector<int64_t> permutation) {
  return Apply("Transpose", {value}, {{"perm", std::move(permutation)}});
}

ValueId Expansion::Reshaped(ValueId value, std::vector<int64_t> shape) {
  return Apply("Reshape", {value, Ints(std::move(shape))});
}

ValueId Expansion::Unsqueezed(ValueId value, std::vector<int64_t> axes) {
  return Apply("Unsqueeze", {value, Ints(std::move(axes))});
}

void Expansion::SetOutput(size_t output, ValueId value) {
  if (outputs_.size() <= output) outputs_.resize(output + 1, kNoValue);
  outputs_[output] = value;
}

absl::Status Expansion::Finish() {
  for (size_t i = 0; i < node_.outputs.size(); ++i) {
    if (IsRead(i) && (i >= outputs_.size() || outputs_[i] == kNoValue)) {
      return absl::UnimplementedError(
          absl::StrCat("output ", i, " is read, which Octet does not compute"));
    }
  }
  for (size_t i = 0; i < node_.outputs.size(); ++i) {
    if (!IsRead(i)) continue;
    const ValueId old = node_.outputs[i];
    // The next expansion may ask for its rank before types are inferred again.
    graph_.mutable_type(outputs_[i]) = graph_.value(old).type;
    graph_.ReplaceAllUses(old, outputs_[i]);
  }
  graph_.RemoveNode(id_);
  return absl::OkStatus();
}

ValueId MultiplyDynamic(Expansion& expansion, ValueId left, const QuantizedOperand& weights) {
  const ValueId right =
      expansion.Apply("DequantizeLinear", {weights.codes, weights.scale, weights.zero_point},
                      {{"axis", int64_t{-1}}});
  return expansion.Apply("MatMul", {left, right}, {{kDynamicInt8, int64_t{1}}});
}

ValueId MultiplyQuantized(Expansion& expansion, const QuantizedOperand& left,
                          const QuantizedOperand& weights) {
  const Graph& graph = expansion.graph();
  const std::optional<NodeId> producer = graph.value(left.codes).producer;
  if (producer && graph.node(*producer).op == "DynamicQuantizeLinear") {
    const Node& quantizer = graph.node(*producer);
    if (quantizer.outputs[0] == left.codes && quantizer.outputs.size() == 3 &&
        quantizer.outputs[1] == left.scale && quantizer.outputs[2] == left.zero_point) {
      return MultiplyDynamic(expansion, quantizer.inputs[0], weights);
    }
  }
  const ValueId real =
      expansion.Apply("DequantizeLinear", {left.codes, left.scale, left.zero_point});
  const ValueId right =
      expansion.Apply("DequantizeLinear", {weights.codes, weights.scale, weights.zero_point},
                      {{"axis", int64_t{-1}}});
  return expansion.Apply("MatMul", {real, right});
}

}  // namespace octet::graph
