// Operators on codes become DequantizeLinear, the operator on real numbers, QuantizeLinear. One
// form is left for absorb_quantization, and operators that have no integer kernel run in float.

#include <algorithm>
#include <array>

#include "base/status.h"
#include "graph/passes/expansion.h"
#include "graph/passes/passes.h"
#include "graph/passes/quantizer_nodes.h"

namespace octet::graph {
namespace {

ValueId InputOrNone(const Expansion& e, size_t i) { return e.HasInput(i) ? e.input(i) : kNoValue; }

// The real numbers of a tensor whose scale and zero point are inputs too.
ValueId Real(Expansion& e, size_t codes, size_t scale, size_t zero_point, int64_t axis = 0) {
  return e.Apply("DequantizeLinear", {e.input(codes), e.input(scale), InputOrNone(e, zero_point)},
                 {{"axis", axis}});
}

// Codes of the result. An absent zero point is 0, of the type of the codes in `like`.
ValueId Quantized(Expansion& e, ValueId real, size_t scale, size_t zero_point, size_t like) {
  ValueId zero = InputOrNone(e, zero_point);
  if (zero == kNoValue) {
    const bool is_signed = e.graph().value(e.input(like)).type.dtype == DataType::kInt8;
    zero = e.Constant(is_signed ? Tensor::Of<int8_t>({1}, {0}).Reshaped({})
                                : Tensor::Of<uint8_t>({1}, {0}).Reshaped({}));
  }
  return e.Apply("QuantizeLinear", {real, e.input(scale), zero});
}

Expansion::Attributes AttributesWithout(const Node& node, absl::string_view key) {
  Expansion::Attributes result = node.attributes;
  result.erase(key);
  return result;
}

// [batch, ..., channels] -> [batch, channels, ...], or back.
ValueId MovedChannels(Expansion& e, ValueId x, int64_t rank, bool to_last) {
  std::vector<int64_t> permutation = {0};
  if (!to_last) permutation.push_back(rank - 1);
  for (int64_t d = to_last ? 2 : 1; d < (to_last ? rank : rank - 1); ++d) permutation.push_back(d);
  if (to_last) permutation.push_back(1);
  return e.Transposed(x, std::move(permutation));
}

// QLinearConv and QLinearMatMul have references of their own, exact ones; with parameters that are
// known they are worth more as operators on real numbers.
bool HasConstants(const Graph& graph, const Node& node, std::initializer_list<size_t> inputs) {
  return std::all_of(inputs.begin(), inputs.end(), [&](size_t i) {
    return graph.IsConstant(node.inputs[i]) && graph.value(node.inputs[i]).constant->has_bytes();
  });
}

bool IsOneNumber(const Expansion& e, size_t input) {
  return e.graph().value(e.input(input)).constant->size() == 1;
}

// int32 codes whose scale is the product of the input's and the weights'.
ValueId RealBias(Expansion& e, size_t bias, size_t input_scale, size_t weight_scale) {
  const ValueId scale = e.Apply("Mul", {e.input(input_scale), e.input(weight_scale)});
  const ValueId zero =
      e.Constant(Tensor::Of<float>({1}, {0}));  // [1]: the scale has one dimension at least
  const ValueId list = e.Apply("Add", {scale, zero});
  const ValueId real = e.Apply("Cast", {e.input(bias)}, {{"to", int64_t{1}}});
  return e.Apply("Mul", {real, list});
}

absl::Status ExpandConv(Expansion& e) {
  enum Input : size_t { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };
  std::vector<ValueId> inputs = {Real(e, kX, kXScale, kXZero), Real(e, kW, kWScale, kWZero, 0)};
  if (e.HasInput(kBias)) inputs.push_back(RealBias(e, kBias, kXScale, kWScale));
  const ValueId y = e.Apply("Conv", std::move(inputs), e.node().attributes);
  e.SetOutput(0, Quantized(e, y, kYScale, kYZero, kX));
  return absl::OkStatus();
}

absl::Status ExpandMatMul(Expansion& e) {
  enum Input : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero };
  const ValueId y =
      e.Apply("MatMul", {Real(e, kA, kAScale, kAZero), Real(e, kB, kBScale, kBZero, -1)});
  e.SetOutput(0, Quantized(e, y, kYScale, kYZero, kA));
  return absl::OkStatus();
}

absl::StatusOr<bool> ExpandProduct(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool conv = node.op == "QLinearConv";
  if (!conv && node.op != "QLinearMatMul") return false;
  if (!HasConstants(graph, node, {1, 2, 4, 5, 6, 7})) return false;
  Expansion expansion(graph, id);
  // One scale for a whole activation: rows with scales of their own stay with the exact reference.
  for (const size_t i : {1, 2, 6, 7}) {
    if (!IsOneNumber(expansion, i)) return false;
  }
  OCTET_RETURN_IF_ERROR(conv ? ExpandConv(expansion) : ExpandMatMul(expansion));
  OCTET_RETURN_IF_ERROR(expansion.Finish());
  return true;
}

// Sums of products of codes that are then scaled: how dynamic quantization is written in ONNX.
//   x -> DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul(x's scale * weights' scale)
absl::StatusOr<bool> ExpandDynamicProduct(Graph& graph, NodeId id) {
  const Node& product = graph.node(id);
  if (product.op != "MatMulInteger" && product.op != "ConvInteger") return false;
  const auto producer = graph.value(product.inputs[0]).producer;
  if (!producer || graph.node(*producer).op != "DynamicQuantizeLinear") return false;
  const Node& quantizer = graph.node(*producer);
  if (quantizer.outputs.size() != 3 || quantizer.outputs[0] != product.inputs[0] ||
      !product.HasInput(2) || product.inputs[2] != quantizer.outputs[2]) {
    return false;
  }
  const auto cast = graph.OnlyConsumer(product.outputs[0]);
  if (!cast || graph.node(*cast).op != "Cast" || graph.node(*cast).Int("to", 0) != 1) return false;
  const ValueId real = graph.node(*cast).outputs[0];
  const auto scaling = graph.OnlyConsumer(real);
  if (!scaling || graph.node(*scaling).op != "Mul") return false;
  const Node& mul = graph.node(*scaling);
  const ValueId factor = mul.inputs[0] == real ? mul.inputs[1] : mul.inputs[0];
  const auto factor_node = graph.value(factor).producer;
  if (!factor_node || graph.node(*factor_node).op != "Mul") return false;
  const Node& factors = graph.node(*factor_node);
  const bool first = factors.inputs[0] == quantizer.outputs[1];
  const ValueId weight_scale = factors.inputs[first ? 1 : 0];
  if ((!first && factors.inputs[1] != quantizer.outputs[1]) || !graph.IsConstant(weight_scale) ||
      !graph.IsConstant(product.inputs[1])) {
    return false;
  }
  const QuantizedOperand weights = {
      .codes = product.inputs[1],
      .scale = weight_scale,
      .zero_point = product.HasInput(3) ? product.inputs[3] : kNoValue};
  const ValueId x = quantizer.inputs[0];
  Expansion expansion(graph, *scaling);
  if (product.op == "MatMulInteger") {
    expansion.SetOutput(0, MultiplyDynamic(expansion, x, weights));
  } else {
    if (graph.value(weight_scale).constant->size() != 1) return false;
    const Expansion::Attributes attributes = product.attributes;
    const ValueId w =
        expansion.Apply("DequantizeLinear", {weights.codes, weights.scale, weights.zero_point},
                        {{"axis", int64_t{0}}});
    expansion.SetOutput(0, expansion.Apply("Conv", {x, w}, attributes));
  }
  OCTET_RETURN_IF_ERROR(expansion.Finish());
  return true;
}

}  // namespace

absl::Status ExpandQLinearBinary(Expansion& e) {
  const absl::string_view op = e.node().op == "com.microsoft.QLinearAdd" ? "Add" : "Mul";
  const ValueId y = e.Apply(op, {Real(e, 0, 1, 2), Real(e, 3, 4, 5)});
  e.SetOutput(0, Quantized(e, y, 6, 7, 0));
  return absl::OkStatus();
}

absl::Status ExpandQLinearConcat(Expansion& e) {
  std::vector<ValueId> operands;
  for (size_t i = 2; i + 2 < e.node().inputs.size(); i += 3) {
    operands.push_back(Real(e, i, i + 1, i + 2));
  }
  const ValueId y = e.Apply("Concat", std::move(operands), {{"axis", e.node().Int("axis", 0)}});
  e.SetOutput(0, Quantized(e, y, 0, 1, 2));
  return absl::OkStatus();
}

absl::Status ExpandQGemm(Expansion& e) {
  enum Input : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kC, kYScale, kYZero };
  const Node& node = e.node();
  const int64_t channel_axis = node.Int("transB", 0) != 0 ? 0 : 1;
  std::vector<ValueId> inputs = {Real(e, kA, kAScale, kAZero),
                                 Real(e, kB, kBScale, kBZero, channel_axis)};
  if (e.HasInput(kC)) {
    const ValueId bias = RealBias(e, kC, kAScale, kBScale);
    inputs.push_back(e.Apply("Mul", {bias, e.Float(node.Float("alpha", 1))}));
  }
  const ValueId y = e.Apply("Gemm", std::move(inputs), node.attributes);
  e.SetOutput(0, e.HasInput(kYScale) ? Quantized(e, y, kYScale, kYZero, kA) : y);
  return absl::OkStatus();
}

absl::Status ExpandQLinearUnary(Expansion& e) {
  const Node& node = e.node();
  const absl::string_view prefix = "com.microsoft.QLinear";
  const std::string op = node.op.substr(prefix.size());
  const int64_t newest_softmax = 13;
  if (op == "Softmax" && node.Int("opset", newest_softmax) < newest_softmax) {
    return absl::UnimplementedError("Softmax of opsets before 13 over several dimensions");
  }
  const bool channels_last = node.Int("channels_last", 0) != 0 && e.rank(0) >= 3;
  ValueId x = Real(e, 0, 1, 2);
  if (channels_last) x = MovedChannels(e, x, e.rank(0), /*to_last=*/false);
  ValueId y = e.Apply(op, {x}, AttributesWithout(node, "channels_last"));
  if (channels_last) y = MovedChannels(e, y, e.rank(0), /*to_last=*/true);
  e.SetOutput(0, Quantized(e, y, 3, 4, 0));
  return absl::OkStatus();
}

absl::StatusOr<int> ExpandIntegerProducts(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    OCTET_ASSIGN_OR_RETURN(bool changed, ExpandProduct(graph, id));
    if (!changed && graph.IsLive(id)) {
      OCTET_ASSIGN_OR_RETURN(changed, ExpandDynamicProduct(graph, id));
    }
    rewrites += changed ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
