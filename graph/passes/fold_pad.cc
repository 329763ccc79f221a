// Zeros that a Pad puts around an image for a Conv become the Conv's own padding, which costs
// nothing: exporters of TensorFlow's "same" padding write them apart.

#include <algorithm>
#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// Amounts before and after each dimension.
struct Padding {
  std::vector<int64_t> before, after;
};

std::optional<Padding> ReadPadding(const Graph& graph, const Node& pad, size_t rank) {
  if (pad.String("mode", "constant") != "constant") return std::nullopt;
  if (pad.HasInput(2) && ScalarOf(graph, pad.inputs[2]) != 0.0f) return std::nullopt;
  if (pad.Float("value", 0) != 0) return std::nullopt;
  const std::optional<std::vector<int64_t>> amounts = IntsOf(graph, pad, 1, "pads");
  if (!amounts) return std::nullopt;
  std::vector<int64_t> axes(rank);
  for (size_t d = 0; d < rank; ++d) axes[d] = static_cast<int64_t>(d);
  if (pad.HasInput(3)) {
    const auto chosen = IntsOf(graph, pad, 3, "axes");
    if (!chosen) return std::nullopt;
    axes = *chosen;
  }
  if (amounts->size() != 2 * axes.size()) return std::nullopt;
  Padding result{std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, 0)};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + static_cast<int64_t>(rank) : axes[i];
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) return std::nullopt;
    result.before[axis] = (*amounts)[i];
    result.after[axis] = (*amounts)[i + axes.size()];
  }
  return result;
}

// Neither samples nor channels are padded, nothing is cut off.
bool IsSpatial(const Padding& padding) {
  const auto fits = [](const std::vector<int64_t>& amounts) {
    return amounts[0] == 0 && amounts[1] == 0 &&
           std::all_of(amounts.begin(), amounts.end(), [](int64_t n) { return n >= 0; });
  };
  return fits(padding.before) && fits(padding.after);
}

bool FoldOne(Graph& graph, NodeId id) {
  const Node& conv = graph.node(id);
  const Node* pad = MadeBy(graph, conv.inputs[0], "Pad");
  if (pad == nullptr || graph.OnlyConsumer(conv.inputs[0]) != id) return false;
  const std::string auto_pad = conv.String("auto_pad", "NOTSET");
  if (auto_pad != "NOTSET" && auto_pad != "VALID") return false;
  const size_t rank = graph.value(conv.inputs[0]).type.shape.size();
  const std::optional<Padding> padding = rank < 3 ? std::nullopt : ReadPadding(graph, *pad, rank);
  if (!padding || !IsSpatial(*padding)) return false;
  std::vector<int64_t> pads = conv.Ints("pads");
  if (pads.empty() || auto_pad == "VALID") pads.assign(2 * (rank - 2), 0);
  if (pads.size() != 2 * (rank - 2)) return false;
  for (size_t d = 0; d < rank - 2; ++d) {
    pads[d] += padding->before[d + 2];
    pads[d + rank - 2] += padding->after[d + 2];
  }
  Node& changed = graph.mutable_node(id);
  changed.attributes.insert_or_assign("pads", std::move(pads));
  changed.attributes.erase("auto_pad");
  const ValueId padded = changed.inputs[0];
  graph.SetInput(id, 0, pad->inputs[0]);
  graph.RemoveNode(*graph.value(padded).producer);
  return true;
}

}  // namespace

absl::StatusOr<int> FoldPad(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.NodesOfType("Conv")) rewrites += FoldOne(graph, id) ? 1 : 0;
  return rewrites;
}

}  // namespace octet::graph
