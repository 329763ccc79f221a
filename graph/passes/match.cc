#include "graph/passes/match.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octet::graph {
namespace {

std::optional<float> Bound(const Graph& graph, const Node& clip, size_t input,
                           absl::string_view attribute, float fallback) {
  if (!clip.HasInput(input)) return clip.Float(attribute, fallback);
  return ScalarOf(graph, clip.inputs[input]);
}

}  // namespace

bool IsFloat(const Graph& graph, ValueId id) {
  const TensorType& type = graph.value(id).type;
  return type.dtype == DataType::kFloat32 && !type.quant;
}

const Tensor* FloatConstant(const Graph& graph, ValueId id) {
  if (!graph.IsConstant(id) || !IsFloat(graph, id)) return nullptr;
  const Tensor& constant = *graph.value(id).constant;
  return constant.has_bytes() ? &constant : nullptr;
}

std::optional<float> ScalarOf(const Graph& graph, ValueId id) {
  const Tensor* constant = id == kNoValue ? nullptr : FloatConstant(graph, id);
  if (constant == nullptr || constant->size() != 1) return std::nullopt;
  return constant->As<float>()[0];
}

const Node* MadeBy(const Graph& graph, ValueId id, absl::string_view op) {
  if (id == kNoValue || !graph.value(id).producer) return nullptr;
  const Node& node = graph.node(*graph.value(id).producer);
  return node.op == op && node.fused.empty() && node.outputs[0] == id ? &node : nullptr;
}

std::optional<WithConstant> SplitConstant(const Graph& graph, const Node& node) {
  if (node.inputs.size() != 2 || !node.HasInput(0) || !node.HasInput(1)) return std::nullopt;
  const bool first = graph.IsConstant(node.inputs[0]), second = graph.IsConstant(node.inputs[1]);
  if (first == second) return std::nullopt;
  return WithConstant{.operand = node.inputs[first ? 1 : 0],
                      .constant = node.inputs[first ? 0 : 1],
                      .constant_first = first};
}

bool KeepsShape(const Graph& graph, ValueId operand, ValueId constant) {
  const Shape& shape = graph.value(operand).type.shape;
  const Shape& other = graph.value(constant).type.shape;
  if (other.size() > shape.size()) return false;
  for (size_t i = 1; i <= other.size(); ++i) {
    const int64_t dim = other[other.size() - i];
    if (dim != 1 && dim != shape[shape.size() - i]) return false;
  }
  return true;
}

std::optional<std::vector<int64_t>> IntsOf(const Graph& graph, const Node& node, size_t index,
                                           absl::string_view attribute) {
  if (!node.HasInput(index)) {
    if (!node.Has(attribute)) return std::nullopt;
    return node.Ints(attribute);
  }
  const Value& value = graph.value(node.inputs[index]);
  if (!value.constant || !value.constant->has_bytes()) return std::nullopt;
  std::vector<int64_t> result;
  if (value.type.dtype == DataType::kInt64) {
    const auto from = value.constant->As<int64_t>();
    result.assign(from.begin(), from.end());
  } else if (value.type.dtype == DataType::kInt32) {
    const auto from = value.constant->As<int32_t>();
    result.assign(from.begin(), from.end());
  } else {
    return std::nullopt;
  }
  return result;
}

std::optional<Bounds> ClipBounds(const Graph& graph, const Node& clip) {
  constexpr float kMost = std::numeric_limits<float>::max();
  const std::optional<float> low = Bound(graph, clip, 1, "min", -kMost);
  const std::optional<float> high = Bound(graph, clip, 2, "max", kMost);
  if (!low || !high || !(*low <= *high)) return std::nullopt;
  return Bounds{*low, *high};
}

bool Near(double a, double b) {
  constexpr double kTolerance = 1e-5;
  return std::abs(a - b) <= kTolerance * std::max({1e-3, std::abs(a), std::abs(b)});
}

}  // namespace octet::graph
