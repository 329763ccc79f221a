// Conv, ConvTranspose, Gemm or MatMul -> BatchNormalization becomes the former with scaled weights
// and a new bias:
//   w' = w * gamma / sqrt(variance + epsilon)
//   b' = (b - mean) * gamma / sqrt(variance + epsilon) + beta
// Saves a pass over the activations, and the quantizer sees weights whose per-channel ranges
// already include gamma.

#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "base/status.h"
#include "graph/passes/channels.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

constexpr int kGamma = 1, kBeta = 2, kMean = 3, kVariance = 4;  // inputs of BatchNormalization

// y = scales * x + shifts.
struct ChannelAffine {
  std::vector<float> scales, shifts;
};

std::optional<ChannelAffine> AffineOf(const Graph& graph, const Node& batch_norm,
                                      int64_t channels) {
  std::array<std::span<const float>, 5> parameters;
  for (const int i : {kGamma, kBeta, kMean, kVariance}) {
    const Tensor* tensor =
        batch_norm.HasInput(i) ? FloatConstant(graph, batch_norm.inputs[i]) : nullptr;
    if (tensor == nullptr || tensor->size() != channels) return std::nullopt;
    parameters[i] = tensor->As<float>();
  }
  const float epsilon = batch_norm.Float("epsilon", 1e-5f);
  ChannelAffine result;
  for (size_t c = 0; c < parameters[kGamma].size(); ++c) {
    const float scale = parameters[kGamma][c] / std::sqrt(parameters[kVariance][c] + epsilon);
    result.scales.push_back(scale);
    result.shifts.push_back(parameters[kBeta][c] - parameters[kMean][c] * scale);
  }
  return result;
}

// BatchNormalization's channels are dimension 1.
bool ChannelsMatch(const Graph& graph, const Node& node, const WeightChannels& channels) {
  const size_t rank = graph.value(node.outputs[0]).type.shape.size();
  return rank >= 2 && rank - 1 - channels.result_from_end() == 1;
}

absl::StatusOr<bool> FoldOne(Graph& graph, NodeId batch_norm_id) {
  const Node& batch_norm = graph.node(batch_norm_id);
  const ValueId product = batch_norm.inputs[0];
  if (!graph.value(product).producer || graph.OnlyConsumer(product) != batch_norm_id ||
      batch_norm.Int("training_mode", 0) != 0 || !batch_norm.fused.empty()) {
    return false;
  }
  const NodeId id = *graph.value(product).producer;
  const std::optional<WeightChannels> channels = WeightChannels::Of(graph, graph.node(id));
  if (!channels || !ChannelsMatch(graph, graph.node(id), *channels)) return false;
  const std::optional<ChannelAffine> affine = AffineOf(graph, batch_norm, channels->outputs());
  if (!affine) return false;
  OCTET_RETURN_IF_ERROR(ScaleWeights(graph, id, *channels, affine->scales, {}));
  OCTET_RETURN_IF_ERROR(ChangeBias(graph, id, *channels, affine->scales, affine->shifts));
  graph.ReplaceAllUses(batch_norm.outputs[0], product);
  graph.RemoveNode(batch_norm_id);
  return true;
}

}  // namespace

absl::StatusOr<int> FoldBatchNorm(Graph& graph) {
  int rewrites = 0;
  for (const NodeId id : graph.NodesOfType("BatchNormalization")) {
    OCTET_ASSIGN_OR_RETURN(const bool folded, FoldOne(graph, id));
    rewrites += folded ? 1 : 0;
  }
  return rewrites;
}

}  // namespace octet::graph
