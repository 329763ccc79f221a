// LayerNormalization (Ba et al. 2016) and RMSNormalization (Zhang, Sennrich 2019) as exporters
// below opset 17 and 23 write them:
//   d = x - mean(x);  y = d / sqrt(mean(d * d) + epsilon) * scale + shift
//   y = x / sqrt(mean(x * x) + epsilon) * scale
// with the square as Mul or Pow, the root as Sqrt or Pow, the quotient as Div or as a product with
// the reciprocal. The means are over the last dimensions.

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// The mean of `of` over its last `dims` dimensions, which stay as ones.
struct Mean {
  ValueId of{};
  int dims = 0;
};

std::optional<Mean> ReadMean(const Graph& graph, ValueId value) {
  const Node* node = MadeBy(graph, value, "ReduceMean");
  if (node == nullptr || node->Int("keepdims", 1) == 0) return std::nullopt;
  std::optional<std::vector<int64_t>> axes = IntsOf(graph, *node, 1, "axes");
  if (!axes || axes->empty()) return std::nullopt;
  const auto rank = static_cast<int64_t>(graph.value(node->inputs[0]).type.shape.size());
  for (int64_t& axis : *axes) axis += axis < 0 ? rank : 0;
  std::sort(axes->begin(), axes->end());
  for (size_t i = 0; i < axes->size(); ++i) {
    if ((*axes)[i] != rank - static_cast<int64_t>(axes->size() - i)) return std::nullopt;
  }
  return Mean{node->inputs[0], static_cast<int>(axes->size())};
}

// x - mean(x).
std::optional<Mean> ReadCentred(const Graph& graph, ValueId value) {
  const Node* node = MadeBy(graph, value, "Sub");
  if (node == nullptr) return std::nullopt;
  const std::optional<Mean> mean = ReadMean(graph, node->inputs[1]);
  if (!mean || mean->of != node->inputs[0]) return std::nullopt;
  return mean;
}

// What `value` is the square of.
std::optional<ValueId> ReadSquare(const Graph& graph, ValueId value) {
  if (const Node* node = MadeBy(graph, value, "Mul")) {
    return node->inputs[0] == node->inputs[1] ? std::optional(node->inputs[0]) : std::nullopt;
  }
  const Node* node = MadeBy(graph, value, "Pow");
  if (node == nullptr || ScalarOf(graph, node->inputs[1]) != 2.0f) return std::nullopt;
  return node->inputs[0];
}

// sqrt(of), or 1 / sqrt(of).
std::optional<ValueId> ReadRoot(const Graph& graph, ValueId value, bool reciprocal) {
  if (const Node* node = MadeBy(graph, value, "Pow")) {
    const bool root = ScalarOf(graph, node->inputs[1]) == (reciprocal ? -0.5f : 0.5f);
    return root ? std::optional(node->inputs[0]) : std::nullopt;
  }
  if (reciprocal) {
    if (const Node* node = MadeBy(graph, value, "Reciprocal")) {
      return ReadRoot(graph, node->inputs[0], false);
    }
    const Node* node = MadeBy(graph, value, "Div");
    if (node == nullptr || ScalarOf(graph, node->inputs[0]) != 1.0f) return std::nullopt;
    return ReadRoot(graph, node->inputs[1], false);
  }
  const Node* node = MadeBy(graph, value, "Sqrt");
  return node == nullptr ? std::nullopt : std::optional(node->inputs[0]);
}

struct Normalization {
  ValueId x{};
  int dims = 0;  // how many last dimensions are normalized
  float epsilon = 0;
  bool centred = false;
};

// `numerator` over the root whose square is `power`.
std::optional<Normalization> ReadQuotient(const Graph& graph, ValueId numerator, ValueId power) {
  const Node* sum = MadeBy(graph, power, "Add");
  const auto split = sum == nullptr ? std::nullopt : SplitConstant(graph, *sum);
  const auto epsilon = split ? ScalarOf(graph, split->constant) : std::nullopt;
  const auto mean = epsilon ? ReadMean(graph, split->operand) : std::nullopt;
  const auto squared = mean ? ReadSquare(graph, mean->of) : std::nullopt;
  if (!squared || !(*epsilon >= 0)) return std::nullopt;
  const std::optional<Mean> centred = ReadCentred(graph, numerator);
  if (centred && centred->dims == mean->dims) {
    // Some exporters write the difference twice.
    const std::optional<Mean> again = ReadCentred(graph, *squared);
    if (again && again->of == centred->of && again->dims == centred->dims) {
      return Normalization{centred->of, mean->dims, *epsilon, true};
    }
  }
  if (*squared != numerator) return std::nullopt;
  return Normalization{numerator, mean->dims, *epsilon, false};
}

std::optional<Normalization> ReadNormalization(const Graph& graph, const Node& node) {
  if (!node.fused.empty() || node.inputs.size() != 2) return std::nullopt;
  if (node.op == "Div") {
    const auto power = ReadRoot(graph, node.inputs[1], false);
    return power ? ReadQuotient(graph, node.inputs[0], *power) : std::nullopt;
  }
  if (node.op != "Mul") return std::nullopt;
  for (int side = 0; side < 2; ++side) {
    const auto power = ReadRoot(graph, node.inputs[1 - side], true);
    const auto found = power ? ReadQuotient(graph, node.inputs[side], *power) : std::nullopt;
    if (found) return found;
  }
  return std::nullopt;
}

// A constant that scales or shifts the normalized dimensions, with no more dimensions than those.
std::optional<Tensor> Parameter(const Graph& graph, const Normalization& norm, ValueId constant) {
  const Tensor* tensor = FloatConstant(graph, constant);
  if (tensor == nullptr || !KeepsShape(graph, norm.x, constant)) return std::nullopt;
  Shape shape = tensor->shape();
  while (static_cast<int>(shape.size()) > norm.dims && shape.front() == 1) {
    shape.erase(shape.begin());
  }
  if (static_cast<int>(shape.size()) > norm.dims) return std::nullopt;
  return tensor->Reshaped(shape);
}

// The only reader of `node`'s result if it is `op` with a parameter.
struct Applied {
  NodeId node;
  Tensor parameter;
};
std::optional<Applied> ReadApplied(const Graph& graph, const Normalization& norm, NodeId node,
                                   absl::string_view op) {
  const std::optional<NodeId> next = graph.OnlyConsumer(graph.node(node).outputs[0]);
  if (!next || graph.node(*next).op != op || !graph.node(*next).fused.empty()) return std::nullopt;
  const auto split = SplitConstant(graph, graph.node(*next));
  const auto parameter = split ? Parameter(graph, norm, split->constant) : std::nullopt;
  if (!parameter) return std::nullopt;
  return Applied{*next, *parameter};
}

// Ones for the normalized dimensions, if they are known.
std::optional<Tensor> Ones(const Graph& graph, const Normalization& norm) {
  const Shape& shape = graph.value(norm.x).type.shape;
  const Shape dims(shape.end() - norm.dims, shape.end());
  if (std::find(dims.begin(), dims.end(), kUnknownDim) != dims.end()) return std::nullopt;
  const std::vector<float> ones(static_cast<size_t>(ElementCount(dims)), 1.0f);
  return Tensor::Of<float>(dims, ones);
}

bool FuseOne(Graph& graph, NodeId id) {
  const std::optional<Normalization> norm = ReadNormalization(graph, graph.node(id));
  if (!norm || !IsFloat(graph, norm->x)) return false;
  const absl::string_view op = norm->centred ? "LayerNormalization" : "RMSNormalization";
  if (graph.registry().FindNewest(op) == nullptr) return false;
  NodeId last = id;
  const std::optional<Applied> scale = ReadApplied(graph, *norm, last, "Mul");
  if (scale) last = scale->node;
  std::optional<Applied> shift;
  if (norm->centred) shift = ReadApplied(graph, *norm, last, "Add");
  if (shift) last = shift->node;
  const std::optional<Tensor> factors = scale ? scale->parameter : Ones(graph, *norm);
  if (!factors) return false;

  const std::string name = graph.node(last).name;
  Node fused{.op = std::string(op), .inputs = {norm->x}};
  fused.inputs.push_back(graph.AddConstant(absl::StrCat(name, ".scale"), *factors));
  if (shift) {
    fused.inputs.push_back(graph.AddConstant(absl::StrCat(name, ".shift"), shift->parameter));
  }
  fused.attributes.emplace("axis", int64_t{-norm->dims});
  fused.attributes.emplace("epsilon", norm->epsilon);
  graph.ReplaceNode(last, std::move(fused));
  return true;
}

}  // namespace

absl::StatusOr<int> FuseLayerNormalization(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.Nodes()) {
    if (graph.IsLive(id)) rewrites += FuseOne(graph, id) ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
