// Conv, ConvTranspose, Gemm or MatMul followed by the addition of one constant per output channel
// becomes that node with a bias: oneDNN adds it for free. A MatMul then has a third input.

#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

constexpr int kWeight = 1, kBias = 2;

// Where the output channels are, counted from the last dimension of the output.
std::optional<size_t> ChannelFromEnd(const Graph& graph, const Node& node) {
  const size_t rank = graph.value(node.outputs[0]).type.shape.size();
  if (node.op == "Conv" || node.op == "ConvTranspose") return rank - 2;
  if (node.op == "Gemm" && node.Float("alpha", 1) == 1 && node.Float("beta", 1) == 1) return 0;
  if (node.op == "MatMul") return 0;
  return std::nullopt;
}

// The constant as one value per channel, if that is what it broadcasts to.
std::optional<Tensor> PerChannel(const Tensor& constant, size_t channel_from_end,
                                 int64_t channels) {
  const Shape& shape = constant.shape();
  if (constant.dtype() != DataType::kFloat32 || constant.size() != channels) return std::nullopt;
  if (shape.size() <= channel_from_end ||
      shape[shape.size() - 1 - channel_from_end] != channels) {
    return std::nullopt;
  }
  return constant.Reshaped({channels});
}

std::optional<Tensor> Sum(const Graph& graph, const Node& node, const Tensor& addend) {
  if (!node.HasInput(kBias)) return addend;
  const ValueId bias = node.inputs[kBias];
  if (!graph.IsConstant(bias) || graph.value(bias).constant->size() != addend.size()) {
    return std::nullopt;
  }
  const std::span<const float> old = graph.value(bias).constant->As<float>();
  std::vector<float> sum(old.begin(), old.end());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += addend.As<float>()[i];
  return Tensor::Of<float>(addend.shape(), sum);
}

bool FoldOne(Graph& graph, NodeId add_id) {
  const Node add = graph.node(add_id);
  for (int side = 0; side < 2; ++side) {
    const ValueId product = add.inputs[side], constant = add.inputs[1 - side];
    if (!graph.IsConstant(constant) || !graph.value(product).producer) continue;
    const NodeId id = *graph.value(product).producer;
    const Node& node = graph.node(id);
    if (graph.OnlyConsumer(product) != add_id || !node.fused.empty()) continue;
    const std::optional<size_t> from_end = ChannelFromEnd(graph, node);
    if (!from_end || !graph.IsConstant(node.inputs[kWeight])) continue;
    const Shape& shape = graph.value(product).type.shape;
    // A constant of higher rank would broadcast the output.
    if (graph.value(constant).type.shape.size() > shape.size()) continue;
    const int64_t channels = shape[shape.size() - 1 - *from_end];
    const auto addend = PerChannel(*graph.value(constant).constant, *from_end, channels);
    if (!addend) continue;
    const std::optional<Tensor> bias = Sum(graph, node, *addend);
    if (!bias) continue;
    graph.SetInput(id, kBias, graph.AddConstant(node.name + ".bias", *bias));
    graph.ReplaceAllUses(add.outputs[0], product);
    graph.RemoveNode(add_id);
    return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<int> FoldBias(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.NodesOfType("Add")) rewrites += FoldOne(graph, id) ? 1 : 0;
  return rewrites;
}

}  // namespace octet::graph
