// A node that is spelled out in simpler operators, so that passes, the quantizer and the kernels
// see operators they know. Used by the passes that expand; internal to graph/passes.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::graph {

// Collects the nodes that take the place of one; Finish() puts them there. The graph is changed
// only by values and nodes that nobody else reads until then.
class Expansion {
 public:
  using Attributes = absl::flat_hash_map<std::string, Attribute>;

  Expansion(Graph& graph, NodeId id) : graph_(graph), id_(id), node_(graph.node(id)) {}

  const Graph& graph() const { return graph_; }
  const Node& node() const { return node_; }
  bool HasInput(size_t i) const { return node_.HasInput(i); }
  ValueId input(size_t i) const { return node_.inputs[i]; }
  // Of a present input, as shape inference has found it: sizes may be kUnknownDim. By value, since
  // new values move the old ones.
  Shape shape(size_t i) const { return graph_.value(node_.inputs[i]).type.shape; }
  int rank(size_t i) const { return static_cast<int>(shape(i).size()); }
  bool IsRead(size_t output) const;

  // A new node of the newest meaning of `op`, with one output.
  ValueId Apply(absl::string_view op, std::vector<ValueId> inputs, Attributes attributes = {});
  std::vector<ValueId> ApplySplit(ValueId value, int64_t axis, std::vector<int64_t> sizes);
  ValueId Constant(Tensor tensor);
  ValueId Float(float value);  // a scalar, like the next
  ValueId Int(int64_t value);
  ValueId Ints(std::vector<int64_t> values);
  // `value` with `addend` added, if there is one.
  ValueId AddIf(ValueId value, ValueId addend);
  ValueId Transposed(ValueId value, std::vector<int64_t> permutation);
  ValueId Reshaped(ValueId value, std::vector<int64_t> shape);
  ValueId Unsqueezed(ValueId value, std::vector<int64_t> axes);

  void SetOutput(size_t output, ValueId value);
  // Replaces the node. Unimplemented, with nothing replaced, if somebody reads an output that was
  // not set.
  absl::Status Finish();

 private:
  Graph& graph_;
  const NodeId id_;
  const Node node_;
  std::vector<ValueId> outputs_;
};

// What expands one operator; see the files expand_*.cc.
using ExpandFn = absl::Status (*)(Expansion&);

// com.microsoft: Attention, QAttention, MultiHeadAttention.
absl::Status ExpandAttention(Expansion& expansion);
absl::Status ExpandQuantizedAttention(Expansion& expansion);
absl::Status ExpandMultiHeadAttention(Expansion& expansion);

// com.microsoft: QGemm; QLinearAdd and QLinearMul; QLinearConcat; QLinear with one operand.
absl::Status ExpandQGemm(Expansion& expansion);
absl::Status ExpandQLinearBinary(Expansion& expansion);
absl::Status ExpandQLinearConcat(Expansion& expansion);
absl::Status ExpandQLinearUnary(Expansion& expansion);

// Marks a MatMul whose float operand is to be quantized row by row at run time, as the model asks.
inline constexpr char kDynamicInt8[] = "octet.dynamic_int8";

// The float product of `left` (codes with a scale and a zero point, or kNoValue) by quantized
// weights. If `left` is the result of DynamicQuantizeLinear, its float input is multiplied and the
// product is marked with kDynamicInt8.
struct QuantizedOperand {
  ValueId codes = kNoValue;
  ValueId scale = kNoValue;
  ValueId zero_point = kNoValue;
};
ValueId MultiplyQuantized(Expansion& expansion, const QuantizedOperand& left,
                          const QuantizedOperand& weights);
// The same with a float left operand that the model quantizes at run time.
ValueId MultiplyDynamic(Expansion& expansion, ValueId left, const QuantizedOperand& weights);

}  // namespace octet::graph
