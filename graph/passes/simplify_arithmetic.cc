// One spelling for arithmetic with constants, so that later patterns need to know only one:
// subtractions become additions, divisions multiplications; neutral elements go, and consecutive
// additions or multiplications of constants become one.

#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

template <typename Function>
absl::StatusOr<Tensor> Mapped(const Tensor& from, Function function) {
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kFloat32, from.shape()));
  const std::span<float> to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = function(from.As<float>()[i]);
  return result;
}

// x - c is x + -c, x / c is x * (1 / c).
absl::StatusOr<bool> Canonicalize(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool difference = node.op == "Sub";
  if (!difference && node.op != "Div") return false;
  const std::optional<WithConstant> split = SplitConstant(graph, node);
  if (!split || split->constant_first || !IsFloat(graph, split->operand)) return false;
  const Tensor* constant = FloatConstant(graph, split->constant);
  if (constant == nullptr) return false;
  for (const float value : constant->As<float>()) {
    if (!difference && !std::isnormal(1 / value)) return false;
  }
  OCTET_ASSIGN_OR_RETURN(Tensor changed, Mapped(*constant, [difference](float value) {
                           return difference ? -value : 1 / value;
                         }));
  const std::string name = absl::StrCat(node.name, difference ? ".addend" : ".factor");
  const ValueId operand = split->operand;
  const ValueId value = graph.AddConstant(name, std::move(changed));
  graph.ReplaceNode(id, {.op = difference ? "Add" : "Mul", .inputs = {operand, value}});
  return true;
}

// x + 0 and x * 1.
bool RemoveNeutral(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const std::optional<WithConstant> split = SplitConstant(graph, node);
  if (!split || !KeepsShape(graph, split->operand, split->constant)) return false;
  const Tensor* constant = FloatConstant(graph, split->constant);
  if (constant == nullptr || constant->size() == 0) return false;
  for (const float value : constant->As<float>()) {
    if (value != (node.op == "Add" ? 0.0f : 1.0f)) return false;
  }
  graph.ReplaceAllUses(node.outputs[0], split->operand);
  graph.RemoveNode(id);
  return true;
}

float Combine(absl::string_view op, float a, float b) { return op == "Add" ? a + b : a * b; }

// The larger constant combined with the smaller; none if neither is one element of lower rank.
absl::StatusOr<std::optional<Tensor>> Combined(absl::string_view op, const Tensor& a,
                                               const Tensor& b) {
  const bool a_larger = a.shape().size() >= b.shape().size() && a.size() >= b.size();
  const Tensor& large = a_larger ? a : b;
  const Tensor& small = a_larger ? b : a;
  if (small.shape() != large.shape() &&
      (small.size() != 1 || small.shape().size() > large.shape().size())) {
    return std::nullopt;
  }
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kFloat32, large.shape()));
  const std::span<float> to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] = Combine(op, large.As<float>()[i], small.As<float>()[small.size() == 1 ? 0 : i]);
  }
  return result;
}

// (x + a) + b is x + (a + b), and so for products.
absl::StatusOr<bool> MergeWithPrevious(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const std::optional<WithConstant> outer = SplitConstant(graph, node);
  if (!outer || !graph.OnlyConsumer(outer->operand)) return false;
  const Node* previous = MadeBy(graph, outer->operand, node.op);
  const auto inner = previous == nullptr ? std::nullopt : SplitConstant(graph, *previous);
  if (!inner) return false;
  const Tensor* a = FloatConstant(graph, inner->constant);
  const Tensor* b = FloatConstant(graph, outer->constant);
  if (a == nullptr || b == nullptr) return false;
  OCTET_ASSIGN_OR_RETURN(std::optional<Tensor> combined, Combined(node.op, *a, *b));
  if (!combined) return false;
  const ValueId operand = inner->operand;
  const std::string op = node.op;
  const ValueId constant =
      graph.AddConstant(absl::StrCat(node.name, ".constant"), std::move(*combined));
  const ValueId between = outer->operand;
  graph.ReplaceNode(id, {.op = op, .inputs = {operand, constant}});
  graph.RemoveNode(*graph.value(between).producer);
  return true;
}

absl::StatusOr<bool> SimplifyOne(Graph& graph, NodeId id) {
  const std::string& op = graph.node(id).op;
  if (!graph.node(id).fused.empty()) return false;
  if (op != "Add" && op != "Mul") return Canonicalize(graph, id);
  if (RemoveNeutral(graph, id)) return true;
  return MergeWithPrevious(graph, id);
}

}  // namespace

absl::StatusOr<int> SimplifyArithmetic(Graph& graph) {
  // Producers first, so that a chain collapses from its beginning.
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    if (!graph.IsLive(id) || graph.node(id).outputs.empty()) continue;
    const ValueId result = graph.node(id).outputs[0];
    if (result == kNoValue) continue;
    // A rewrite may leave a new node in place of the old one, to be simplified in turn.
    for (bool changed = true; changed && graph.value(result).producer;) {
      OCTET_ASSIGN_OR_RETURN(changed, SimplifyOne(graph, *graph.value(result).producer));
      rewrites += changed ? 1 : 0;
    }
  }
  return rewrites;
}

}  // namespace octet::graph
