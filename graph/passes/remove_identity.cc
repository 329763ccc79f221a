// Nodes that only rename their input. Exporters leave them behind, and each would cost a copy or
// hide a pattern.

#include "base/status.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

bool OnlyRenames(const Graph& graph, const Node& node) {
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") return node.outputs.size() < 2 || node.outputs[1] == kNoValue;
  if (node.op != "Cast" || node.Has("octet.round")) return false;
  const TensorType& from = graph.value(node.inputs[0]).type;
  const TensorType& to = graph.value(node.outputs[0]).type;
  return from.dtype == to.dtype;
}

}  // namespace

absl::StatusOr<int> RemoveIdentity(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.Nodes()) {
    const Node& node = graph.node(id);
    if (node.inputs.empty() || node.inputs[0] == kNoValue || !OnlyRenames(graph, node)) continue;
    if (node.outputs[0] == kNoValue) continue;
    const ValueId input = node.inputs[0];
    graph.ReplaceAllUses(node.outputs[0], input);
    graph.RemoveNode(id);
    ++rewrites;
  }
  return rewrites;
}

}  // namespace octet::graph
