// Multiplications by constants around Conv, ConvTranspose, Gemm and MatMul, and additions before
// them, go into their weights and bias:
//   (w x) * s      = (s w) x          one factor per output channel, or one in all
//   w (x * s)      = (w s) x          one factor per input channel, or one in all
//   w (x + a) + b  = w x + (b + w a)  where no padding stands beside x, which a would not reach
// A scalar factor before a MatMul of two activations moves behind it, where it costs nothing: the
// 1 / sqrt(d) of attention.

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/channels.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// A Mul by a constant, behind the node.
absl::StatusOr<bool> FoldBehind(Graph& graph, NodeId id) {
  const ValueId result = graph.node(id).outputs[0];
  const std::optional<NodeId> next = graph.OnlyConsumer(result);
  if (!next || graph.node(*next).op != "Mul" || !graph.node(*next).fused.empty()) return false;
  const std::optional<WithConstant> split = SplitConstant(graph, graph.node(*next));
  const std::optional<WeightChannels> channels = WeightChannels::Of(graph, graph.node(id));
  if (!split || !channels) return false;
  const auto factors =
      PerChannel(graph, split->constant, result, channels->result_from_end(), channels->outputs());
  if (!factors) return false;
  OCTET_RETURN_IF_ERROR(ScaleWeights(graph, id, *channels, *factors, {}));
  if (graph.node(id).HasInput(2)) {
    OCTET_RETURN_IF_ERROR(ChangeBias(graph, id, *channels, *factors, {}));
  }
  graph.ReplaceAllUses(graph.node(*next).outputs[0], result);
  graph.RemoveNode(*next);
  return true;
}

bool IsPadded(const Node& node) {
  if (node.op == "Gemm" || node.op == "MatMul") return false;
  const std::vector<int64_t> pads = node.Ints("pads");
  const std::string auto_pad = node.String("auto_pad", "NOTSET");
  if (node.op != "Conv" || (auto_pad != "NOTSET" && auto_pad != "VALID")) return true;
  return std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad != 0; });
}

// w a for each output channel.
std::vector<float> WeightedSums(const Tensor& weight, const WeightChannels& channels,
                                std::span<const float> addends) {
  std::vector<double> sums(static_cast<size_t>(channels.outputs()), 0.0);
  const std::span<const float> elements = weight.As<float>();
  for (size_t i = 0; i < elements.size(); ++i) {
    const auto element = static_cast<int64_t>(i);
    sums[channels.OutputOf(element)] += double{elements[i]} * addends[channels.InputOf(element)];
  }
  return {sums.begin(), sums.end()};
}

// A Mul by, or an Add of, a constant before the node.
absl::StatusOr<bool> FoldBefore(Graph& graph, NodeId id) {
  const ValueId source = graph.node(id).inputs[0];
  if (graph.OnlyConsumer(source) != id || !graph.value(source).producer) return false;
  const Node& before = graph.node(*graph.value(source).producer);
  const bool add = before.op == "Add";
  if ((!add && before.op != "Mul") || !before.fused.empty()) return false;
  const std::optional<WithConstant> split = SplitConstant(graph, before);
  const std::optional<WeightChannels> channels = WeightChannels::Of(graph, graph.node(id));
  if (!split || !channels || !channels->source_from_end()) return false;
  if (add && IsPadded(graph.node(id))) return false;
  const auto values = PerChannel(graph, split->constant, split->operand,
                                 *channels->source_from_end(), channels->inputs());
  if (!values) return false;
  if (add) {
    const Tensor weight = *graph.value(graph.node(id).inputs[1]).constant;
    OCTET_RETURN_IF_ERROR(
        ChangeBias(graph, id, *channels, {}, WeightedSums(weight, *channels, *values)));
  } else {
    OCTET_RETURN_IF_ERROR(ScaleWeights(graph, id, *channels, {}, *values));
  }
  graph.SetInput(id, 0, split->operand);
  graph.RemoveNode(*graph.value(source).producer);
  return true;
}

// (x * s) y, both activations, becomes (x y) * s.
bool MoveBehind(Graph& graph, NodeId id, size_t side) {
  const Node& node = graph.node(id);
  const ValueId source = node.inputs[side], result = node.outputs[0];
  if (graph.OnlyConsumer(source) != id || !IsFloat(graph, result)) return false;
  const Node* before = MadeBy(graph, source, "Mul");
  const auto split = before == nullptr ? std::nullopt : SplitConstant(graph, *before);
  if (!split || !ScalarOf(graph, split->constant) ||
      !KeepsShape(graph, split->operand, split->constant)) {
    return false;
  }
  const TensorType type = graph.value(result).type;
  const Shape& factor = graph.value(split->constant).type.shape;
  if (factor.size() > type.shape.size()) return false;
  const std::string name = absl::StrCat(node.name, ".scale");
  const std::string value_name = graph.value(result).name;
  const ValueId operand = split->operand, constant = split->constant;
  const ValueId scaled = graph.AddValue(absl::StrCat(value_name, ".scaled"), type);
  graph.ReplaceAllUses(result, scaled);
  graph.SetInput(id, side, operand);
  graph.RemoveNode(*graph.value(source).producer);
  graph.AddNode({.op = "Mul", .name = name, .inputs = {result, constant}, .outputs = {scaled}});
  return true;
}

}  // namespace

absl::StatusOr<int> FoldScale(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    if (!graph.IsLive(id)) continue;
    for (bool folded = true; folded; rewrites += folded ? 1 : 0) {
      OCTET_ASSIGN_OR_RETURN(folded, FoldBehind(graph, id));
      if (folded) continue;
      OCTET_ASSIGN_OR_RETURN(folded, FoldBefore(graph, id));
    }
    const Node& node = graph.node(id);
    if (node.op != "MatMul" || !node.fused.empty() || node.inputs.size() != 2) continue;
    if (graph.IsConstant(node.inputs[0]) || graph.IsConstant(node.inputs[1])) continue;
    for (const size_t side : {0, 1}) rewrites += MoveBehind(graph, id, side) ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
