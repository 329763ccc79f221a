// Weights that a model keeps as codes (DequantizeLinear of a constant, before Conv, Gemm or MatMul)
// stay codes: constants with a quantizer, where constant folding would make floats of them. Only
// before operators that will compute in integers: those whose activations the model quantizes, too.

#include <algorithm>
#include <optional>

#include "base/status.h"
#include "graph/infer.h"
#include "graph/passes/expansion.h"
#include "graph/passes/passes.h"
#include "graph/passes/quantizer_nodes.h"

namespace octet::graph {
namespace {

constexpr size_t kInput = 0, kWeight = 1;

const Node* ProducerOf(const Graph& graph, ValueId value) {
  const auto producer = graph.value(value).producer;
  return producer ? &graph.node(*producer) : nullptr;
}

// The output-channel dimension; none if the operator has no integer kernel for such weights.
std::optional<int> ChannelAxis(const Node& node, size_t rank) {
  if (node.op == "Conv") return rank >= 3 ? std::optional(0) : std::nullopt;
  if (rank != 2) return std::nullopt;
  if (node.op == "MatMul") return 1;
  if (node.op != "Gemm" || node.Int("transA", 0) != 0) return std::nullopt;
  return node.Int("transB", 0) != 0 ? 0 : 1;
}

bool ReadsCodes(const Graph& graph, const Node& node) {
  if (node.Int(kDynamicInt8, 0) != 0) return true;
  const Node* const source = ProducerOf(graph, node.inputs[kInput]);
  if (source == nullptr || source->op != "DequantizeLinear") return false;
  const std::optional<CodeType> quantizer = QuantizerOf(graph, *source);
  return quantizer && !quantizer->params.axis && !graph.IsConstant(source->inputs[0]);
}

// `codes` with its dimensions permuted as the Transpose node does.
absl::StatusOr<std::optional<Codes>> Transposed(const Node& transpose, const Codes& codes) {
  const size_t rank = codes.tensor.shape().size();
  std::vector<int64_t> permutation = transpose.Ints("perm");
  if (permutation.empty()) {
    for (size_t d = rank; d-- > 0;) permutation.push_back(static_cast<int64_t>(d));
  }
  if (rank != 2 || permutation.size() != 2) return std::nullopt;
  if (permutation[0] == 0) return codes;
  Codes result = {.params = codes.params};
  if (codes.params.axis) result.params.axis = 1 - *codes.params.axis;
  const int64_t rows = codes.tensor.shape()[0], columns = codes.tensor.shape()[1];
  OCTET_ASSIGN_OR_RETURN(result.tensor, Tensor::Allocate(DataType::kInt8, {columns, rows}));
  const std::span<const int8_t> from = codes.tensor.As<int8_t>();
  const std::span<int8_t> to = result.tensor.MutableAs<int8_t>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
  return result;
}

// The codes behind a value: DequantizeLinear of a constant, possibly transposed.
absl::StatusOr<std::optional<Codes>> CodesBehind(const Graph& graph, ValueId value) {
  const Node* node = ProducerOf(graph, value);
  const Node* const transpose = node != nullptr && node->op == "Transpose" ? node : nullptr;
  if (transpose != nullptr) node = ProducerOf(graph, transpose->inputs[0]);
  if (node == nullptr || node->op != "DequantizeLinear") return std::nullopt;
  const std::optional<CodeType> quantizer = QuantizerOf(graph, *node);
  const Value& constant = graph.value(node->inputs[0]);
  if (!quantizer || !constant.constant || !constant.constant->has_bytes()) return std::nullopt;
  OCTET_ASSIGN_OR_RETURN(Codes codes, AsInt8(*constant.constant, quantizer->params));
  if (transpose == nullptr) return codes;
  return Transposed(*transpose, codes);
}

absl::StatusOr<bool> ReadWeight(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!node.HasInput(kInput) || !node.HasInput(kWeight)) return false;
  const auto axis = ChannelAxis(node, graph.value(node.inputs[kWeight]).type.shape.size());
  if (!axis || !ReadsCodes(graph, node)) return false;
  OCTET_ASSIGN_OR_RETURN(const std::optional<Codes> codes,
                         CodesBehind(graph, node.inputs[kWeight]));
  if (!codes || (codes->params.axis && codes->params.axis != axis)) return false;
  // Kernels take symmetric weights; others become float constants, which is slower, not wrong.
  const auto& zero_points = codes->params.zero_points;
  if (std::any_of(zero_points.begin(), zero_points.end(), [](int32_t z) { return z != 0; })) {
    return false;
  }
  const std::string name = node.name + ".codes";
  graph.SetInput(id, kWeight, graph.AddConstant(name, codes->tensor, codes->params));
  return true;
}

}  // namespace

absl::StatusOr<int> ReadQuantizedWeights(Graph& graph) {
  if (graph.NodesOfType("DequantizeLinear").empty()) return 0;
  OCTET_ASSIGN_OR_RETURN(int rewrites, FoldConstantsExcept(graph, "DequantizeLinear"));
  for (const NodeId id : graph.Nodes()) {
    OCTET_ASSIGN_OR_RETURN(const bool read, ReadWeight(graph, id));
    rewrites += read ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
