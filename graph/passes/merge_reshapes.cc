// A Reshape of what was only reshaped reads the original: the elements are the same in the same
// order, whatever the dimensions in between were.

#include <algorithm>
#include <array>

#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

bool OnlyReshapes(const Node& node) {
  static constexpr auto kOps =
      std::to_array<absl::string_view>({"Reshape", "Flatten", "Squeeze", "Unsqueeze"});
  return std::find(kOps.begin(), kOps.end(), node.op) != kOps.end() && node.fused.empty();
}

// A 0 copies a dimension of the input, so the input matters.
bool IgnoresInputShape(const Graph& graph, const Node& reshape) {
  const auto shape = IntsOf(graph, reshape, 1, "shape");
  return shape && std::find(shape->begin(), shape->end(), 0) == shape->end();
}

bool MergeOne(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!node.fused.empty() || !IgnoresInputShape(graph, node)) return false;
  const auto producer = graph.value(node.inputs[0]).producer;
  if (!producer || !OnlyReshapes(graph.node(*producer))) return false;
  graph.SetInput(id, 0, graph.node(*producer).inputs[0]);
  return true;
}

}  // namespace

absl::StatusOr<int> MergeReshapes(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.NodesOfType("Reshape")) {
    while (MergeOne(graph, id)) ++rewrites;
  }
  return rewrites;
}

}  // namespace octet::graph
