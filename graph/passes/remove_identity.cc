// Nodes that hand on their first input as it is. Exporters leave them behind, and each would cost a
// copy or hide a pattern.

#include <algorithm>
#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// Equal in every request. One dimension that is not known is equal too where `same_count` says that
// both have as many elements.
bool SameShape(const Graph& graph, ValueId a, ValueId b, bool same_count) {
  const Shape& left = graph.value(a).type.shape;
  const Shape& right = graph.value(b).type.shape;
  if (left != right) return false;
  if (std::find(left.begin(), left.end(), 0) != left.end()) return false;
  return std::count(left.begin(), left.end(), kUnknownDim) <= (same_count ? 1 : 0);
}

bool AllAre(const std::optional<std::vector<int64_t>>& numbers, int64_t wanted) {
  return numbers && std::all_of(numbers->begin(), numbers->end(),
                                [wanted](int64_t number) { return number == wanted; });
}

// Every index of every dimension, in order.
bool TakesAll(const Graph& graph, const Node& slice) {
  const bool steps = !slice.HasInput(4) || AllAre(IntsOf(graph, slice, 4, "steps"), 1);
  return steps && SameShape(graph, slice.inputs[0], slice.outputs[0], false);
}

bool IsUnchangedCast(const Graph& graph, const Node& cast) {
  if (cast.Has("octet.round")) return false;
  const TensorType& from = graph.value(cast.inputs[0]).type;
  const TensorType& to = graph.value(cast.outputs[0]).type;
  return from.dtype == to.dtype;
}

bool HandsOn(const Graph& graph, const Node& node) {
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") return node.outputs.size() < 2 || node.outputs[1] == kNoValue;
  if (node.op == "Cast") return IsUnchangedCast(graph, node);
  if (node.op == "Concat") return node.inputs.size() == 1;
  if (node.op == "Sum" || node.op == "Min" || node.op == "Max") return node.inputs.size() == 1;
  if (node.op == "Slice") return TakesAll(graph, node);
  if (node.op == "Pad") return AllAre(IntsOf(graph, node, 1, "pads"), 0);
  if (node.op == "Tile") return AllAre(IntsOf(graph, node, 1, "repeats"), 1);
  if (node.op == "Expand") return SameShape(graph, node.inputs[0], node.outputs[0], false);
  if (node.op == "Reshape" || node.op == "Flatten") {
    return SameShape(graph, node.inputs[0], node.outputs[0], true);
  }
  return false;
}

}  // namespace

absl::StatusOr<int> RemoveIdentity(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.Nodes()) {
    const Node& node = graph.node(id);
    if (node.outputs.empty() || node.outputs[0] == kNoValue || !node.HasInput(0)) continue;
    if (!node.fused.empty() || !HandsOn(graph, node)) continue;
    const ValueId input = node.inputs[0];
    graph.ReplaceAllUses(node.outputs[0], input);
    graph.RemoveNode(id);
    ++rewrites;
  }
  return rewrites;
}

}  // namespace octet::graph
