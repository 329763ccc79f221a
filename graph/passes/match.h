// What patterns are made of: questions about the values around a node. All of them answer for what
// is known before any request.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace octet::graph {

// float32 and not quantized.
bool IsFloat(const Graph& graph, ValueId id);

// A float32 constant whose bytes are there; null otherwise.
const Tensor* FloatConstant(const Graph& graph, ValueId id);

// The element of a float32 constant that has one, of any rank.
std::optional<float> ScalarOf(const Graph& graph, ValueId id);

// The node that makes `id`, if its operator is `op` and nothing is fused into it; null otherwise.
const Node* MadeBy(const Graph& graph, ValueId id, absl::string_view op);

// A node of two inputs of which one is constant.
struct WithConstant {
  ValueId operand{};
  ValueId constant{};
  bool constant_first = false;
};
std::optional<WithConstant> SplitConstant(const Graph& graph, const Node& node);

// A constant of this shape, broadcast with `operand`, gives the operand's own shape.
bool KeepsShape(const Graph& graph, ValueId operand, ValueId constant);

// Integers that older opsets have in an attribute and newer ones in input `index`, which must be
// constant. None if they are neither or not known.
std::optional<std::vector<int64_t>> IntsOf(const Graph& graph, const Node& node, size_t index,
                                           absl::string_view attribute);

// The bounds of a Clip, in attributes or in constant inputs; float32's own where it has none.
struct Bounds {
  float low = 0;
  float high = 0;
};
std::optional<Bounds> ClipBounds(const Graph& graph, const Node& clip);

// `a` is `b` up to the rounding of a few float32 operations.
bool Near(double a, double b);

}  // namespace octet::graph
