// Activation functions that an exporter spelled in several nodes become one:
//   Gelu       x * (1 + erf(x / sqrt(2))) / 2, and the form with tanh (Hendrycks, Gimpel 2016)
//   Swish      x * sigmoid(alpha * x)
//   HardSwish  x * clip(x + 3, 0, 6) / 6, or x * hardsigmoid(x)    (Howard et al. 2019)
//   Mish       x * tanh(softplus(x))                               (Misra 2019)
//   HardSigmoid  clip(alpha * x + beta, 0, 1)
// Constant factors may stand anywhere in the product and constants on either side: products are
// flattened and arguments compared as polynomials, so that no spelling needs a pattern of its own.

#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/polynomial.h"

namespace octet::graph {
namespace {

constexpr int kMaxFlattened = 4;

// factor * operands[0] * operands[1] * ...
struct Product {
  double factor = 1;
  std::vector<ValueId> operands;
};

// Factors that others read too are operands of their own.
void Flatten(const Graph& graph, const Node& node, int depth, Product& product) {
  for (size_t i = 0; i < 2; ++i) {
    const ValueId id = node.inputs[i];
    if (const std::optional<float> scalar = ScalarOf(graph, id)) {
      product.factor *= node.op == "Div" ? 1.0 / *scalar : *scalar;
      continue;
    }
    const Node* inner = MadeBy(graph, id, "Mul");
    if (inner == nullptr) inner = MadeBy(graph, id, "Div");
    const bool flat = inner != nullptr && depth > 0 && graph.OnlyConsumer(id) &&
                      (inner->op == "Mul" || ScalarOf(graph, inner->inputs[1]));
    if (flat) {
      Flatten(graph, *inner, depth - 1, product);
    } else {
      product.operands.push_back(id);
    }
  }
}

std::optional<Product> ProductOf(const Graph& graph, const Node& node) {
  if (node.op != "Mul" && node.op != "Div") return std::nullopt;
  if (node.op == "Div") {
    const std::optional<float> divisor = ScalarOf(graph, node.inputs[1]);
    if (!divisor || *divisor == 0) return std::nullopt;
  }
  Product product;
  Flatten(graph, node, kMaxFlattened, product);
  if (!std::isfinite(product.factor)) return std::nullopt;
  return product;
}

// What a pattern becomes: one operator on `x`.
struct Activation {
  ValueId x{};
  Node node;
};

Activation On(ValueId x, absl::string_view op,
              absl::flat_hash_map<std::string, Attribute> attributes = {}) {
  return {x, Node{.op = std::string(op), .inputs = {x}, .attributes = std::move(attributes)}};
}

// factor * x * gate, where the gate is scale * inner(...) + offset.
struct Gated {
  ValueId x{};
  double scale = 1;   // with the factor
  double offset = 0;  // with the factor
  const Node* inner = nullptr;
};

bool Halved(const Gated& gated) { return Near(gated.scale, 0.5) && Near(gated.offset, 0.5); }
bool Plain(const Gated& gated) { return Near(gated.scale, 1) && Near(gated.offset, 0); }

bool ArgumentIs(const Graph& graph, const Gated& gated, const Polynomial& wanted) {
  const auto found = PolynomialOf(graph, gated.x, gated.inner->inputs[0]);
  return found && Near(*found, wanted);
}

std::optional<Activation> MatchErfGelu(const Graph& graph, const Gated& gated) {
  if (!Halved(gated) || !ArgumentIs(graph, gated, {0, 1 / std::numbers::sqrt2, 0, 0})) {
    return std::nullopt;
  }
  return On(gated.x, "Gelu");
}

// softplus(x) as such or as log(1 + exp(x)).
bool IsSoftplus(const Graph& graph, ValueId x, ValueId value) {
  if (const Node* node = MadeBy(graph, value, "Softplus")) return node->inputs[0] == x;
  const Node* log = MadeBy(graph, value, "Log");
  if (log == nullptr) return false;
  const Affine sum = AffineOf(graph, log->inputs[0]);
  const Node* exp = MadeBy(graph, sum.base, "Exp");
  return exp != nullptr && exp->inputs[0] == x && Near(sum.scale, 1) && Near(sum.offset, 1);
}

std::optional<Activation> MatchTanh(const Graph& graph, const Gated& gated) {
  const double k = std::sqrt(2 / std::numbers::pi);
  if (Halved(gated) && ArgumentIs(graph, gated, {0, k, 0, 0.044715 * k})) {
    return On(gated.x, "Gelu", {{"approximate", std::string("tanh")}});
  }
  if (Plain(gated) && IsSoftplus(graph, gated.x, gated.inner->inputs[0])) {
    return On(gated.x, "Mish");
  }
  return std::nullopt;
}

std::optional<Activation> MatchSigmoid(const Graph& graph, const Gated& gated) {
  if (!Plain(gated)) return std::nullopt;
  const auto argument = PolynomialOf(graph, gated.x, gated.inner->inputs[0]);
  if (!argument || !Near(*argument, {0, (*argument)[1], 0, 0}) || (*argument)[1] == 0) {
    return std::nullopt;
  }
  return On(gated.x, "Swish", {{"alpha", static_cast<float>((*argument)[1])}});
}

std::optional<Activation> MatchHardSigmoid(const Graph&, const Gated& gated) {
  const bool same = Plain(gated) && gated.inner->inputs[0] == gated.x &&
                    Near(gated.inner->Float("alpha", 0.2f), 1.0 / 6) &&
                    Near(gated.inner->Float("beta", 0.5f), 0.5);
  return same ? std::optional(On(gated.x, "HardSwish")) : std::nullopt;
}

// scale * clip(u, low, high) is clip(scale * u, scale * low, scale * high).
bool ClipsToOne(const Graph& graph, const Node& clip, double scale, double offset) {
  const std::optional<Bounds> bounds = ClipBounds(graph, clip);
  return bounds && scale > 0 && Near(offset, 0) && Near(scale * bounds->low, 0) &&
         Near(scale * bounds->high, 1);
}

std::optional<Activation> MatchClip(const Graph& graph, const Gated& gated) {
  if (!ClipsToOne(graph, *gated.inner, gated.scale, gated.offset)) return std::nullopt;
  if (!ArgumentIs(graph, gated, {0.5 / gated.scale, 1 / (6 * gated.scale), 0, 0})) {
    return std::nullopt;
  }
  return On(gated.x, "HardSwish");
}

std::optional<Activation> MatchGated(const Graph& graph, const Product& product) {
  struct Row {
    absl::string_view op;
    std::optional<Activation> (*match)(const Graph&, const Gated&);
  };
  static constexpr auto kRows = std::to_array<Row>({
      {"Erf", MatchErfGelu},
      {"Tanh", MatchTanh},
      {"Sigmoid", MatchSigmoid},
      {"HardSigmoid", MatchHardSigmoid},
      {"Clip", MatchClip},
  });
  for (int side = 0; side < 2; ++side) {
    const Affine gate = AffineOf(graph, product.operands[1 - side]);
    for (const Row& row : kRows) {
      const Node* inner = MadeBy(graph, gate.base, row.op);
      if (inner == nullptr) continue;
      const Gated gated{.x = product.operands[side],
                        .scale = product.factor * gate.scale,
                        .offset = product.factor * gate.offset,
                        .inner = inner};
      if (auto activation = row.match(graph, gated)) return activation;
    }
  }
  return std::nullopt;
}

// A Clip to [0, 1] of alpha * x + beta, where there is at least an addition to save.
std::optional<Activation> MatchLoneClip(const Graph& graph, ValueId value, double factor) {
  const Node* clip = MadeBy(graph, value, "Clip");
  if (clip == nullptr || !ClipsToOne(graph, *clip, factor, 0)) return std::nullopt;
  const Affine argument = AffineOf(graph, clip->inputs[0]);
  if (argument.offset == 0) return std::nullopt;
  return On(argument.base, "HardSigmoid",
            {{"alpha", static_cast<float>(factor * argument.scale)},
             {"beta", static_cast<float>(factor * argument.offset)}});
}

std::optional<Activation> Match(const Graph& graph, const Node& node) {
  if (node.op == "Clip") return MatchLoneClip(graph, node.outputs[0], 1);
  const std::optional<Product> product = ProductOf(graph, node);
  if (!product) return std::nullopt;
  if (product->operands.size() == 1) {
    return MatchLoneClip(graph, product->operands[0], product->factor);
  }
  return product->operands.size() == 2 ? MatchGated(graph, *product) : std::nullopt;
}

bool FuseOne(Graph& graph, NodeId id) {
  const Node& root = graph.node(id);
  if (!root.fused.empty() || root.outputs.size() != 1 || root.outputs[0] == kNoValue) return false;
  std::optional<Activation> found = Match(graph, root);
  if (!found || !IsFloat(graph, found->x)) return false;
  if (graph.registry().FindNewest(found->node.op) == nullptr) return false;
  // Constants of one element, but of higher rank, would have added dimensions.
  const TensorType& result = graph.value(root.outputs[0]).type;
  if (graph.value(found->x).type.shape.size() != result.shape.size()) return false;
  graph.ReplaceNode(id, std::move(found->node));
  return true;
}

}  // namespace

absl::StatusOr<int> FuseActivationPatterns(Graph& graph) {
  // Consumers first: the whole of a pattern before a part that is a pattern too.
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (auto id = order.rbegin(); id != order.rend(); ++id) rewrites += FuseOne(graph, *id) ? 1 : 0;
  return rewrites;
}

}  // namespace octet::graph
