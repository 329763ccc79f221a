#include <algorithm>

#include "kernels/attention.h"

namespace octet::kernels {
namespace {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

constexpr size_t kMostRank = 4;

bool IsFloat(const Graph& graph, ValueId value) {
  const graph::TensorType& type = graph.value(value).type;
  return type.dtype == DataType::kFloat32 && !type.quant && ElementCount(type.shape) > 0;
}

// The node that makes the value for one reader only.
std::optional<NodeId> OnlyFor(const Graph& graph, ValueId value, NodeId reader) {
  const graph::Value& made = graph.value(value);
  if (!made.producer || graph.OnlyConsumer(value) != reader || made.consumers.size() != 1) {
    return std::nullopt;
  }
  return made.producer;
}

bool IsProductOfActivations(const Graph& graph, const Node& node) {
  return node.op == "MatMul" && !graph.IsConstant(node.inputs[0]) &&
         !graph.IsConstant(node.inputs[1]) && IsFloat(graph, node.inputs[0]) &&
         IsFloat(graph, node.inputs[1]) && IsFloat(graph, node.outputs[0]);
}

bool NormalizesRows(const Graph& graph, const Node& node) {
  if (node.op != "Softmax" || !node.fused.empty()) return false;
  const auto rank = static_cast<int64_t>(graph.value(node.inputs[0]).type.shape.size());
  const int64_t axis = node.Int("axis", node.schema->since_version >= 13 ? -1 : 1);
  return axis == -1 || axis == rank - 1;
}

bool BroadcastsTo(const Shape& mask, const Shape& scores) {
  if (mask.size() > scores.size()) return false;
  for (size_t d = 1; d <= mask.size(); ++d) {
    const int64_t dim = mask[mask.size() - d];
    if (dim != 1 && dim != scores[scores.size() - d]) return false;
  }
  return true;
}

// The chain behind Q * K': a factor, then a mask of the scores' own shape.
bool ReadChain(const Graph& graph, const Node& scores, AttentionPattern& pattern) {
  for (const graph::FusedOp& fused : scores.fused) {
    const bool masked = pattern.node.inputs.size() > 3;
    if (fused.op == "Linear" && fused.beta == 0 && !masked) {
      pattern.factor *= fused.alpha;
    } else if (fused.op == "Add" && !masked &&
               IsFloat(graph, scores.inputs[static_cast<size_t>(fused.input)])) {
      pattern.node.inputs.push_back(scores.inputs[static_cast<size_t>(fused.input)]);
    } else {
      return false;
    }
  }
  return true;
}

Shape BatchOf(const Graph& graph, ValueId value) {
  const Shape& shape = graph.value(value).type.shape;
  return {shape.begin(), shape.end() - 2};
}

bool SameBatches(const Graph& graph, const AttentionPattern& pattern) {
  const Shape& query = graph.value(pattern.node.inputs[0]).type.shape;
  if (query.size() < 3 || query.size() > kMostRank) return false;
  for (size_t i = 1; i < 3; ++i) {
    if (graph.value(pattern.node.inputs[i]).type.shape.size() != query.size()) return false;
    if (BatchOf(graph, pattern.node.inputs[i]) != BatchOf(graph, pattern.node.inputs[0])) {
      return false;
    }
  }
  return true;
}

bool ReadSideBySide(const Graph& graph, ValueId result) {
  const std::optional<NodeId> reader = graph.OnlyConsumer(result);
  if (!reader || graph.node(*reader).op != "Transpose") return false;
  return graph.node(*reader).Ints("perm") == std::vector<int64_t>{0, 2, 1, 3};
}

std::optional<AttentionPattern> MatchAt(const Graph& graph, NodeId id) {
  const Node& product = graph.node(id);
  if (!IsProductOfActivations(graph, product) || !product.fused.empty()) return std::nullopt;
  if (product.inputs.size() > 2) return std::nullopt;
  const auto softmax = OnlyFor(graph, product.inputs[0], id);
  if (!softmax || !NormalizesRows(graph, graph.node(*softmax))) return std::nullopt;
  AttentionPattern pattern{.product = id, .absorbed = {*softmax}};
  ValueId summed = graph.node(*softmax).inputs[0];
  ValueId mask = graph::kNoValue;
  NodeId reader = *softmax;
  auto producer = OnlyFor(graph, summed, reader);
  if (!producer) return std::nullopt;
  if (const Node& add = graph.node(*producer); add.op == "Add" && add.fused.empty()) {
    const bool first = OnlyFor(graph, add.inputs[0], *producer).has_value() &&
                       graph.value(add.inputs[0]).type.shape == graph.value(summed).type.shape &&
                       graph.node(*graph.value(add.inputs[0]).producer).op == "MatMul";
    mask = add.inputs[first ? 1 : 0];
    pattern.absorbed.insert(pattern.absorbed.begin(), *producer);
    reader = *producer;
    summed = add.inputs[first ? 0 : 1];
    producer = OnlyFor(graph, summed, reader);
    if (!producer || !IsFloat(graph, mask)) return std::nullopt;
  }
  const Node& scores = graph.node(*producer);
  if (!IsProductOfActivations(graph, scores)) return std::nullopt;
  if (mask != graph::kNoValue &&
      !BroadcastsTo(graph.value(mask).type.shape, graph.value(scores.outputs[0]).type.shape)) {
    return std::nullopt;
  }
  pattern.absorbed.insert(pattern.absorbed.begin(), *producer);
  pattern.node = {.op = "Attention",
                  .name = product.name,
                  .inputs = {scores.inputs[0], scores.inputs[1], product.inputs[1]},
                  .outputs = product.outputs,
                  .attributes = product.attributes};
  if (!ReadChain(graph, scores, pattern) || !SameBatches(graph, pattern)) return std::nullopt;
  if (mask != graph::kNoValue) {
    if (pattern.node.inputs.size() > 3) return std::nullopt;
    pattern.node.inputs.push_back(mask);
  }
  pattern.side_by_side = ReadSideBySide(graph, product.outputs[0]);
  return pattern;
}

}  // namespace

std::vector<AttentionPattern> FindAttention(const Graph& graph) {
  std::vector<AttentionPattern> patterns;
  for (const NodeId id : graph.NodesOfType("MatMul")) {
    if (auto pattern = MatchAt(graph, id)) patterns.push_back(*std::move(pattern));
  }
  return patterns;
}

}  // namespace octet::kernels
