// Conv -> BatchNormalization becomes Conv with scaled weights and a new bias:
//   w' = w * gamma / sqrt(variance + epsilon)
//   b' = (b - mean) * gamma / sqrt(variance + epsilon) + beta
// Saves a pass over the activations, and the quantizer sees weights whose per-channel ranges
// already include gamma. Conv (any groups) and Gemm (any transB) alike.

#include <cmath>
#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

constexpr int kWeight = 1, kBias = 2;                           // inputs of Conv and Gemm
constexpr int kGamma = 1, kBeta = 2, kMean = 3, kVariance = 4;  // inputs of BatchNormalization

bool AreFloatConstants(const Graph& graph, const Node& node, size_t first) {
  for (size_t i = first; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNoValue) continue;
    if (!graph.IsConstant(id) || graph.value(id).constant->dtype() != DataType::kFloat32) {
      return false;
    }
  }
  return true;
}

std::span<const float> Floats(const Graph& graph, const Node& node, int input) {
  return graph.value(node.inputs[input]).constant->As<float>();
}

// One multiplier per output channel: gamma / sqrt(variance + epsilon).
std::vector<float> ChannelScales(const Graph& graph, const Node& batch_norm) {
  const std::span<const float> gamma = Floats(graph, batch_norm, kGamma);
  const std::span<const float> variance = Floats(graph, batch_norm, kVariance);
  const float epsilon = batch_norm.Float("epsilon", 1e-5f);
  std::vector<float> scales(gamma.size());
  for (size_t c = 0; c < scales.size(); ++c) scales[c] = gamma[c] / std::sqrt(variance[c] + epsilon);
  return scales;
}

// Where the output channels of a weight are: elements of one channel are `inner` apart repeated.
struct ChannelAxis {
  int64_t channels = 0;
  int64_t inner = 0;
};

std::optional<ChannelAxis> OutputChannels(const Node& node, const Tensor& weight) {
  const Shape& shape = weight.shape();
  if (node.op == "Conv") {
    if (shape.size() < 3) return std::nullopt;
    return ChannelAxis{shape[0], weight.size() / std::max<int64_t>(shape[0], 1)};
  }
  if (shape.size() != 2 || node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1) {
    return std::nullopt;
  }
  if (node.Int("transB", 0) != 0) return ChannelAxis{shape[0], shape[1]};
  return ChannelAxis{shape[1], 1};
}

absl::StatusOr<Tensor> ScaledWeight(const Tensor& weight, const ChannelAxis& axis,
                                    std::span<const float> scales) {
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kFloat32, weight.shape()));
  const std::span<const float> from = weight.As<float>();
  const std::span<float> to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] = from[i] * scales[static_cast<int64_t>(i) / axis.inner % axis.channels];
  }
  return result;
}

absl::StatusOr<Tensor> ShiftedBias(const Graph& graph, const Node& node, const Node& batch_norm,
                                   std::span<const float> scales) {
  OCTET_ASSIGN_OR_RETURN(
      Tensor result, Tensor::Allocate(DataType::kFloat32, {static_cast<int64_t>(scales.size())}));
  const std::span<const float> mean = Floats(graph, batch_norm, kMean);
  const std::span<const float> beta = Floats(graph, batch_norm, kBeta);
  std::span<const float> bias;
  if (node.HasInput(kBias)) bias = Floats(graph, node, kBias);
  for (size_t c = 0; c < scales.size(); ++c) {
    const float before = bias.empty() ? 0.0f : bias[bias.size() == 1 ? 0 : c];
    result.MutableAs<float>()[c] = (before - mean[c]) * scales[c] + beta[c];
  }
  return result;
}

absl::StatusOr<bool> FoldInto(Graph& graph, NodeId node_id, NodeId batch_norm_id) {
  const Node node = graph.node(node_id);
  const Node batch_norm = graph.node(batch_norm_id);
  if (!AreFloatConstants(graph, node, kWeight) || !AreFloatConstants(graph, batch_norm, kGamma)) {
    return false;
  }
  if (batch_norm.Int("training_mode", 0) != 0 || batch_norm.inputs[0] != node.outputs[0]) {
    return false;
  }
  const Tensor weight = *graph.value(node.inputs[kWeight]).constant;
  const std::optional<ChannelAxis> axis = OutputChannels(node, weight);
  const std::vector<float> scales = ChannelScales(graph, batch_norm);
  if (!axis || axis->channels != static_cast<int64_t>(scales.size())) return false;
  if (node.HasInput(kBias)) {
    const int64_t size = graph.value(node.inputs[kBias]).constant->size();
    if (size != axis->channels && size != 1) return false;
  }
  OCTET_ASSIGN_OR_RETURN(Tensor scaled, ScaledWeight(weight, *axis, scales));
  OCTET_ASSIGN_OR_RETURN(Tensor bias, ShiftedBias(graph, node, batch_norm, scales));
  // New constants, not edited ones: another node may share the old weights.
  graph.SetInput(node_id, kWeight, graph.AddConstant(node.name + ".weight", std::move(scaled)));
  graph.SetInput(node_id, kBias, graph.AddConstant(node.name + ".bias", std::move(bias)));
  graph.ReplaceAllUses(batch_norm.outputs[0], node.outputs[0]);
  graph.RemoveNode(batch_norm_id);
  return true;
}

}  // namespace

absl::StatusOr<int> FoldBatchNorm(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.NodesOfType("BatchNormalization")) {
    const ValueId input = graph.node(id).inputs[0];
    const std::optional<NodeId> producer = graph.value(input).producer;
    if (!producer || graph.OnlyConsumer(input) != id) continue;
    const Node& before = graph.node(*producer);
    if ((before.op != "Conv" && before.op != "Gemm") || !before.fused.empty()) continue;
    OCTET_ASSIGN_OR_RETURN(const bool folded, FoldInto(graph, *producer, id));
    rewrites += folded ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
