#include "graph/passes/polynomial.h"

#include <cmath>

#include "graph/passes/match.h"

namespace octet::graph {
namespace {

// Deeper than any exporter writes; bounds the work, which doubles with each level.
constexpr int kMaxDepth = 8;
constexpr int kMaxChain = 16;

std::optional<Polynomial> Product(const Polynomial& a, const Polynomial& b) {
  Polynomial result = {};
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < b.size(); ++j) {
      const double term = a[i] * b[j];
      if (term == 0) continue;
      if (i + j >= result.size()) return std::nullopt;
      result[i + j] += term;
    }
  }
  return result;
}

std::optional<Polynomial> Power(const Polynomial& base, double exponent) {
  if (exponent != 1 && exponent != 2 && exponent != 3) return std::nullopt;
  std::optional<Polynomial> result = base;
  for (int i = 1; i < exponent && result; ++i) result = Product(*result, base);
  return result;
}

Polynomial Sum(const Polynomial& a, const Polynomial& b, double factor) {
  Polynomial result;
  for (size_t i = 0; i < a.size(); ++i) result[i] = a[i] + factor * b[i];
  return result;
}

std::optional<Polynomial> Read(const Graph& graph, ValueId x, ValueId value, int depth);

// Of a node that divides by a number, or raises to its power.
std::optional<Polynomial> ReadWithNumber(const Graph& graph, ValueId x, const Node& node,
                                         int depth) {
  const std::optional<float> scalar = ScalarOf(graph, node.inputs[1]);
  const bool power = node.op == "Pow";
  if (!scalar || (!power && (node.op != "Div" || *scalar == 0))) return std::nullopt;
  const std::optional<Polynomial> base = Read(graph, x, node.inputs[0], depth - 1);
  if (!base) return std::nullopt;
  return power ? Power(*base, *scalar) : Product(*base, {1.0 / *scalar});
}

// Of a node that is Add, Sub or Mul.
std::optional<Polynomial> ReadOperands(const Graph& graph, ValueId x, const Node& node, int depth) {
  const std::optional<Polynomial> a = Read(graph, x, node.inputs[0], depth - 1);
  const std::optional<Polynomial> b = a ? Read(graph, x, node.inputs[1], depth - 1) : std::nullopt;
  if (!b) return std::nullopt;
  return node.op == "Mul" ? Product(*a, *b) : Sum(*a, *b, node.op == "Add" ? 1 : -1);
}

std::optional<Polynomial> Read(const Graph& graph, ValueId x, ValueId value, int depth) {
  if (value == x) return Polynomial{0, 1, 0, 0};
  if (const std::optional<float> scalar = ScalarOf(graph, value)) return Polynomial{*scalar};
  if (depth == 0 || value == kNoValue || !graph.value(value).producer) return std::nullopt;
  const Node& node = graph.node(*graph.value(value).producer);
  if (!node.fused.empty() || !node.HasInput(0)) return std::nullopt;
  if (node.op == "Neg") {
    const std::optional<Polynomial> a = Read(graph, x, node.inputs[0], depth - 1);
    return a ? std::optional(Sum({}, *a, -1)) : std::nullopt;
  }
  if (node.inputs.size() != 2 || !node.HasInput(1)) return std::nullopt;
  if (node.op == "Add" || node.op == "Sub" || node.op == "Mul") {
    return ReadOperands(graph, x, node, depth);
  }
  return ReadWithNumber(graph, x, node, depth);
}

}  // namespace

std::optional<Polynomial> PolynomialOf(const Graph& graph, ValueId x, ValueId value) {
  return Read(graph, x, value, kMaxDepth);
}

Affine AffineOf(const Graph& graph, ValueId value) {
  Affine affine{.base = value};
  for (int i = 0; i < kMaxChain; ++i) {
    if (!graph.value(affine.base).producer) break;
    const Node& node = graph.node(*graph.value(affine.base).producer);
    const std::optional<WithConstant> split = SplitConstant(graph, node);
    const std::optional<float> scalar = split ? ScalarOf(graph, split->constant) : std::nullopt;
    if (!scalar || !node.fused.empty()) break;
    const double outer = affine.scale;
    if (node.op == "Add") {
      affine.offset += outer * *scalar;
    } else if (node.op == "Sub") {
      affine.offset += outer * (split->constant_first ? *scalar : -*scalar);
      if (split->constant_first) affine.scale = -outer;
    } else if (node.op == "Mul") {
      affine.scale = outer * *scalar;
    } else if (node.op == "Div" && !split->constant_first && *scalar != 0) {
      affine.scale = outer / *scalar;
    } else {
      break;
    }
    affine.base = split->operand;
  }
  return affine;
}

bool Near(const Polynomial& a, const Polynomial& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Near(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace octet::graph
