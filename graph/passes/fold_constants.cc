// What depends on no input is computed once: exporters leave transposed weights and constant
// arithmetic in the graph, and later passes match constants, not the nodes that make them.

#include "base/status.h"
#include "graph/infer.h"
#include "graph/passes/passes.h"

namespace octet::graph {

absl::StatusOr<int> FoldConstants(Graph& graph) { return FoldConstantsExcept(graph, ""); }

absl::StatusOr<int> FoldConstantsExcept(Graph& graph, absl::string_view op) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.op == op) continue;
    OCTET_ASSIGN_OR_RETURN(const std::optional<std::vector<Tensor>> values,
                           EvaluateConstant(graph, node));
    if (!values) continue;
    for (const ValueId input : node.inputs) {
      if (graph.IsConstant(input)) graph.value(input).constant->DropPages();
    }
    const std::vector<ValueId> outputs = node.outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) graph.MakeConstant(outputs[i], (*values)[i]);
    }
    ++rewrites;
  }
  return rewrites;
}

}  // namespace octet::graph
