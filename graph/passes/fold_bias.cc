// Conv, ConvTranspose, Gemm or MatMul followed by the addition of one constant per output channel
// becomes that node with a bias: oneDNN adds it for free. A MatMul then has a third input.

#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/channels.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

absl::StatusOr<bool> FoldOne(Graph& graph, NodeId add_id) {
  const Node& add = graph.node(add_id);
  const std::optional<WithConstant> split = SplitConstant(graph, add);
  if (!split || !add.fused.empty() || graph.OnlyConsumer(split->operand) != add_id) return false;
  const std::optional<NodeId> id = graph.value(split->operand).producer;
  if (!id) return false;
  const std::optional<WeightChannels> channels = WeightChannels::Of(graph, graph.node(*id));
  if (!channels) return false;
  const auto addend = PerChannel(graph, split->constant, split->operand,
                                 channels->result_from_end(), channels->outputs());
  if (!addend) return false;
  OCTET_RETURN_IF_ERROR(ChangeBias(graph, *id, *channels, {}, *addend));
  graph.ReplaceAllUses(add.outputs[0], split->operand);
  graph.RemoveNode(add_id);
  return true;
}

}  // namespace

absl::StatusOr<int> FoldBias(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    if (graph.node(id).op != "Add") continue;
    OCTET_ASSIGN_OR_RETURN(const bool folded, FoldOne(graph, id));
    rewrites += folded ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
