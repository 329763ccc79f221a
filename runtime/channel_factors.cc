#include "runtime/channel_factors.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::runtime {

using graph::Graph;
using graph::NodeId;

const Shape& WeightShape(const Graph& graph, NodeId layer) {
  return graph.value(graph.node(layer).inputs[1]).type.shape;
}

bool IsDepthwise(const Graph& graph, NodeId layer) {
  return graph.node(layer).Int("group", 1) > 1 && WeightShape(graph, layer)[1] == 1;
}

int InputChannelDimension(const Graph& graph, NodeId layer) {
  if (WeightShape(graph, layer).size() != 2) return -1;
  const graph::Node& node = graph.node(layer);
  if (node.op == "MatMul") return 0;
  if (node.op != "Gemm" || node.Int("transA", 0) != 0) return -1;
  return node.Int("transB", 0) != 0 ? 1 : 0;
}

absl::Status MultiplyWeights(Graph& graph, NodeId layer, std::span<const float> factors,
                             absl::string_view suffix) {
  const graph::Value& old = graph.value(graph.node(layer).inputs[1]);
  OCTET_ASSIGN_OR_RETURN(Tensor scaled, Tensor::Allocate(DataType::kFloat32, old.type.shape));
  const auto from = old.constant->As<float>();
  const auto to = scaled.MutableAs<float>();
  ForEachWeight(graph, layer, [&](size_t channel, size_t, size_t element) {
    to[element] = from[element] * factors[channel];
  });
  graph.SetInput(layer, 1, graph.AddConstant(absl::StrCat(old.name, suffix), std::move(scaled)));
  return absl::OkStatus();
}

bool HasRoomForDivision(const graph::Node& node) {
  // More operators reach limits of the kernels (graph/passes/fuse_elementwise).
  constexpr size_t kLongestChain = 4;
  return node.fused.size() < kLongestChain;
}

void FuseDivision(Graph& graph, NodeId producer, int dimension, std::span<const float> factors) {
  const graph::Value& value = graph.value(graph.node(producer).outputs[0]);
  const size_t rank = value.type.shape.size();
  Shape shape(rank, 1);
  shape[dimension < 0 ? rank - 1 : static_cast<size_t>(dimension)] =
      static_cast<int64_t>(factors.size());
  std::vector<float> inverse(factors.begin(), factors.end());
  for (float& factor : inverse) factor = 1 / factor;
  const graph::ValueId constant =
      graph.AddConstant(absl::StrCat(value.name, ".divisors"), Tensor::Of<float>(shape, inverse));
  // Beyond the operator's own inputs, so that an absent bias stays absent.
  const size_t operand = std::max<size_t>(graph.node(producer).inputs.size(), 3);
  graph.SetInput(producer, operand, constant);
  graph.mutable_node(producer).fused.push_back({.op = "Mul", .input = static_cast<int>(operand)});
}

absl::Status CheckFactors(absl::string_view activation, std::span<const float> factors,
                          size_t channels) {
  const bool usable = std::all_of(factors.begin(), factors.end(), [](float factor) {
    return std::isfinite(factor) && factor > 0 && std::isfinite(1 / factor);
  });
  if (factors.size() == channels && usable) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "factors of channels: expected ", channels, " finite positive ones for ", activation,
      ", found ", factors.size(), usable ? "" : " with others among them"));
}

}  // namespace octet::runtime
