// Elementwise operators, scalar factors and residual additions run inside the Conv, Gemm or MatMul
// before them, as post-ops on its result while that is still in registers.

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// Longer chains gain nothing and reach limits of the kernels.
constexpr size_t kMaxChain = 4;

// Kernels that take every chain; convolutions have them for constant weights.
bool CanHost(const Graph& graph, const Node& node) {
  if (node.op == "Gemm" || node.op == "MatMul") return true;
  if (node.op != "Conv" && node.op != "ConvTranspose") return false;
  constexpr size_t kMostDimensions = 5;
  const size_t rank = graph.value(node.inputs[0]).type.shape.size();
  return graph.IsConstant(node.inputs[1]) && rank <= kMostDimensions;
}

bool HasRoom(const Node& node) { return node.fused.size() < kMaxChain; }

// The fused form of an elementwise node of one input; none if it has none.
std::optional<FusedOp> ActivationOf(const Graph& graph, const Node& node) {
  struct Row {
    absl::string_view op;
    float alpha, beta;  // defaults of the attributes
  };
  static constexpr auto kRows = std::to_array<Row>({
      {"Relu", 0, 0},
      {"LeakyRelu", 0.01f, 0},
      {"HardSwish", 0, 0},
      {"HardSigmoid", 0.2f, 0.5f},
      {"Sigmoid", 0, 0},
      {"Tanh", 0, 0},
      {"Swish", 1, 0},
      {"Mish", 0, 0},
      {"Elu", 1, 0},
      {"Softplus", 0, 0},
  });
  for (const Row& row : kRows) {
    if (row.op != node.op) continue;
    return FusedOp{.op = node.op,
                   .alpha = node.Float("alpha", row.alpha),
                   .beta = node.Float("beta", row.beta)};
  }
  if (node.op == "Gelu") {
    return FusedOp{.op = node.String("approximate", "none") == "tanh" ? "GeluTanh" : "Gelu"};
  }
  if (node.op != "Clip") return std::nullopt;
  const std::optional<Bounds> bounds = ClipBounds(graph, node);
  if (!bounds) return std::nullopt;
  return FusedOp{.op = "Clip", .alpha = bounds->low, .beta = bounds->high};
}

void Absorb(Graph& graph, NodeId host, NodeId absorbed, FusedOp fused) {
  const ValueId replaced = graph.node(absorbed).outputs[0];
  graph.mutable_node(host).fused.push_back(std::move(fused));
  graph.ReplaceAllUses(replaced, graph.node(host).outputs[0]);
  graph.RemoveNode(absorbed);
}

bool AbsorbActivation(Graph& graph, NodeId host) {
  const ValueId result = graph.node(host).outputs[0];
  const std::optional<NodeId> next = graph.OnlyConsumer(result);
  if (!next || graph.node(*next).inputs[0] != result || !HasRoom(graph.node(host))) return false;
  const std::optional<FusedOp> fused = ActivationOf(graph, graph.node(*next));
  if (!fused) return false;
  Absorb(graph, host, *next, *fused);
  return true;
}

// Multiplication by, or addition of, one number. Consecutive ones become one.
bool AbsorbLinear(Graph& graph, NodeId host) {
  const ValueId result = graph.node(host).outputs[0];
  const std::optional<NodeId> next = graph.OnlyConsumer(result);
  if (!next) return false;
  const Node& node = graph.node(*next);
  const std::optional<WithConstant> split = SplitConstant(graph, node);
  if (!split || (node.op != "Add" && node.op != "Mul") || !node.fused.empty()) return false;
  const std::optional<float> number = ScalarOf(graph, split->constant);
  if (!number || !KeepsShape(graph, result, split->constant)) return false;
  FusedOp linear{.op = "Linear", .alpha = 1, .beta = 0};
  std::vector<FusedOp>& chain = graph.mutable_node(host).fused;
  const bool merges = !chain.empty() && chain.back().op == "Linear";
  if (!merges && !HasRoom(graph.node(host))) return false;
  if (merges) {
    linear = chain.back();
    chain.pop_back();
  }
  if (node.op == "Mul") {
    linear.alpha *= *number;
    linear.beta *= *number;
  } else {
    linear.beta += *number;
  }
  Absorb(graph, host, *next, linear);
  return true;
}

// Residual additions: both operands whole, of one shape.
bool AbsorbAddition(Graph& graph, NodeId host) {
  const ValueId result = graph.node(host).outputs[0];
  const std::optional<NodeId> next = graph.OnlyConsumer(result);
  if (!next || graph.node(*next).op != "Add" || !HasRoom(graph.node(host))) return false;
  const Node& add = graph.node(*next);
  const ValueId other = add.inputs[0] == result ? add.inputs[1] : add.inputs[0];
  if (other == result || graph.IsConstant(other) || !IsFloat(graph, other)) return false;
  if (graph.value(other).type.shape != graph.value(result).type.shape) return false;
  // The chain has room for one addition: it may accumulate in place.
  for (const FusedOp& fused : graph.node(host).fused) {
    if (fused.op == "Add") return false;
  }
  // Beyond the operator's own inputs, so that an absent bias stays absent.
  const size_t operand = std::max<size_t>(graph.node(host).inputs.size(), 3);
  graph.SetInput(host, operand, other);
  Absorb(graph, host, *next, {.op = "Add", .input = static_cast<int>(operand)});
  return true;
}

}  // namespace

absl::StatusOr<int> FuseElementwise(Graph& graph) {
  // Consumers before producers: of two branches that meet in an addition, the one that ends later
  // takes it, and the other's result is ready by then.
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    if (!graph.IsLive(*id)) continue;
    while (
        CanHost(graph, graph.node(*id)) && IsFloat(graph, graph.node(*id).outputs[0]) &&
        (AbsorbActivation(graph, *id) || AbsorbLinear(graph, *id) || AbsorbAddition(graph, *id))) {
      ++rewrites;
    }
  }
  return rewrites;
}

}  // namespace octet::graph
