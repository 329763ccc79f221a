// Relu, Clip, and Min or Max with a scalar constant, one after the other, become one Clip, or Relu
// where that is all: TensorFlow's exporters write ReLU6 as Min(Relu(x), 6).

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

constexpr float kMost = std::numeric_limits<float>::max();

// min(max(x, low), high).
struct Clamp {
  ValueId x{};
  Bounds bounds;
};

std::optional<Clamp> ReadClamp(const Graph& graph, const Node& node) {
  if (!node.fused.empty() || !node.HasInput(0) || !IsFloat(graph, node.inputs[0])) {
    return std::nullopt;
  }
  if (node.op == "Relu") return Clamp{node.inputs[0], {0, kMost}};
  if (node.op == "Clip") {
    const std::optional<Bounds> bounds = ClipBounds(graph, node);
    return bounds ? std::optional(Clamp{node.inputs[0], *bounds}) : std::nullopt;
  }
  if (node.op != "Min" && node.op != "Max") return std::nullopt;
  const std::optional<WithConstant> split = SplitConstant(graph, node);
  if (!split || !KeepsShape(graph, split->operand, split->constant)) return std::nullopt;
  const std::optional<float> bound = ScalarOf(graph, split->constant);
  if (!bound || !(*bound >= -kMost && *bound <= kMost)) return std::nullopt;
  if (node.op == "Min") return Clamp{split->operand, {-kMost, *bound}};
  return Clamp{split->operand, {*bound, kMost}};
}

// `outer` after `inner`.
Bounds Combine(const Bounds& inner, const Bounds& outer) {
  const float low = std::clamp(inner.low, outer.low, outer.high);
  const float high = std::clamp(inner.high, outer.low, outer.high);
  return {low, high};
}

Node ClampNode(Graph& graph, const std::string& name, const Clamp& clamp) {
  if (clamp.bounds.low == 0 && clamp.bounds.high == kMost) {
    return {.op = "Relu", .inputs = {clamp.x}};
  }
  const ValueId low =
      graph.AddConstant(absl::StrCat(name, ".low"), Tensor::Scalar(clamp.bounds.low));
  const ValueId high =
      graph.AddConstant(absl::StrCat(name, ".high"), Tensor::Scalar(clamp.bounds.high));
  return {.op = "Clip", .inputs = {clamp.x, low, high}};
}

bool FuseOne(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  std::optional<Clamp> clamp = ReadClamp(graph, node);
  if (!clamp || graph.registry().FindNewest("Clip") == nullptr) return false;
  bool changed = node.op == "Min" || node.op == "Max";
  while (graph.OnlyConsumer(clamp->x) && graph.value(clamp->x).producer) {
    const auto inner = ReadClamp(graph, graph.node(*graph.value(clamp->x).producer));
    if (!inner) break;
    clamp = Clamp{inner->x, Combine(inner->bounds, clamp->bounds)};
    changed = true;
  }
  if (!changed) return false;
  graph.ReplaceNode(id, ClampNode(graph, std::string(node.name), *clamp));
  return true;
}

}  // namespace

absl::StatusOr<int> FuseClips(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (auto id = order.rbegin(); id != order.rend(); ++id) rewrites += FuseOne(graph, *id) ? 1 : 0;
  return rewrites;
}

}  // namespace octet::graph
