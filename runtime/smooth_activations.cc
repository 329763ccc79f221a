#include "runtime/smooth_activations.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/selection.h"
#include "quant/smooth_quant.h"
#include "runtime/channel_factors.h"
#include "runtime/equalize_channels.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;

// Layers that share their input share its factors.
struct Group {
  ValueId activation{};
  std::vector<NodeId> layers;
};

absl::StatusOr<std::vector<Group>> FindGroups(const Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> layers, quant::QuantizableLayers(graph));
  std::map<ValueId, Group> groups;  // ordered: the result must not depend on hashing
  for (const NodeId id : layers) {
    const graph::Node& layer = graph.node(id);
    if (InputChannelDimension(graph, id) < 0) continue;
    Group& group = groups[layer.inputs[0]];
    group.activation = layer.inputs[0];
    group.layers.push_back(id);
  }
  std::vector<Group> result;
  result.reserve(groups.size());
  for (auto& [activation, group] : groups) result.push_back(std::move(group));
  return result;
}

std::vector<float> Magnitudes(std::span<const ChannelStatistics> channels) {
  std::vector<float> magnitudes;
  for (const ChannelStatistics& channel : channels) {
    magnitudes.push_back(std::max(channel.highest, -channel.lowest));
  }
  return magnitudes;
}

std::vector<float> WeightMagnitudes(const Graph& graph, const Group& group, size_t channels) {
  std::vector<float> magnitudes(channels, 0);
  for (const NodeId id : group.layers) {
    const auto weights = graph.value(graph.node(id).inputs[1]).constant->As<float>();
    ForEachWeight(graph, id, [&](size_t channel, size_t, size_t element) {
      magnitudes[channel] = std::max(magnitudes[channel], std::abs(weights[element]));
    });
  }
  return magnitudes;
}

// Noise power at the outputs of a group's layers: rounding of the activation, to 255 steps over one
// range, times the weights' power; and rounding of the weights, to 127 steps per output channel,
// times the activation's power.
double ExpectedNoise(const Graph& graph, const Group& group,
                     std::span<const ChannelStatistics> channels, std::span<const float> factors) {
  double lowest = 0, highest = 0, power = 0;
  for (size_t c = 0; c < channels.size(); ++c) {
    lowest = std::min(lowest, double{channels[c].lowest} / factors[c]);
    highest = std::max(highest, double{channels[c].highest} / factors[c]);
    power += channels[c].mean_square / (double{factors[c]} * factors[c]);
  }
  const double activation_step = (highest - lowest) / 255;
  double noise = 0;
  for (const NodeId id : group.layers) {
    const Tensor& tensor = *graph.value(graph.node(id).inputs[1]).constant;
    const auto weights = tensor.As<float>();
    const size_t outputs = static_cast<size_t>(tensor.size()) / channels.size();
    std::vector<float> largest(outputs, 0);
    double weight_power = 0;
    ForEachWeight(graph, id, [&](size_t channel, size_t output, size_t element) {
      const float weight = weights[element] * factors[channel];
      largest[output] = std::max(largest[output], std::abs(weight));
      weight_power += double{weight} * weight;
    });
    noise += activation_step * activation_step * weight_power;
    for (const float weight : largest) noise += weight * weight / (127.0 * 127.0) * power;
  }
  return noise;
}

absl::StatusOr<std::vector<float>> ChooseFactors(const Graph& graph, const Group& group,
                                                 std::span<const ChannelStatistics> channels,
                                                 std::optional<double> alpha) {
  const std::vector<float> activations = Magnitudes(channels);
  const std::vector<float> weights = WeightMagnitudes(graph, group, channels.size());
  if (alpha) return quant::SmoothingFactors(activations, weights, *alpha);
  std::vector<float> best(channels.size(), 1);
  double least = ExpectedNoise(graph, group, channels, best);
  for (int tenths = 3; tenths <= 10; ++tenths) {
    OCTET_ASSIGN_OR_RETURN(std::vector<float> factors,
                           quant::SmoothingFactors(activations, weights, tenths / 10.0));
    const double noise = ExpectedNoise(graph, group, channels, factors);
    if (noise >= least) continue;
    least = noise;
    best = std::move(factors);
  }
  return best;
}

Tensor Divided(const Tensor& tensor, std::span<const float> divisors) {
  std::vector<float> values(tensor.As<float>().begin(), tensor.As<float>().end());
  for (size_t i = 0; i < values.size(); ++i) values[i] /= divisors[i];
  return Tensor::Of<float>(tensor.shape(), values);
}

bool IsReadByLayersOnly(const Graph& graph, const Group& group) {
  const graph::Value& value = graph.value(group.activation);
  return value.producer && !graph.IsGraphOutput(group.activation) &&
         value.consumers.size() == group.layers.size();
}

// Into gamma and beta, where nobody but the layers reads the result.
bool FoldIntoNormalization(Graph& graph, const Group& group, std::span<const float> factors) {
  if (!IsReadByLayersOnly(graph, group)) return false;
  const graph::Value& value = graph.value(group.activation);
  const graph::Node& node = graph.node(*value.producer);
  if ((node.op != "LayerNormalization" && node.op != "RMSNormalization") || !node.fused.empty() ||
      node.outputs[0] != group.activation) {
    return false;
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!node.HasInput(i)) continue;
    if (!graph.IsConstant(node.inputs[i])) return false;
    const Tensor& parameter = *graph.value(node.inputs[i]).constant;
    if (parameter.dtype() != DataType::kFloat32 || parameter.shape().size() != 1 ||
        static_cast<size_t>(parameter.size()) != factors.size()) {
      return false;
    }
  }
  if (!node.HasInput(1)) return false;
  for (size_t i = 1; i < graph.node(*value.producer).inputs.size(); ++i) {
    if (!graph.node(*value.producer).HasInput(i)) continue;
    const graph::Value& old = graph.value(graph.node(*value.producer).inputs[i]);
    graph.SetInput(
        *value.producer, i,
        graph.AddConstant(absl::StrCat(old.name, ".smoothed"), Divided(*old.constant, factors)));
  }
  return true;
}

// Into the layer that makes the activation, at the end of its chain; false if there is none.
bool FoldIntoLayer(Graph& graph, const Group& group, std::span<const float> factors) {
  if (!IsReadByLayersOnly(graph, group)) return false;
  const NodeId producer = *graph.value(group.activation).producer;
  const graph::Node& node = graph.node(producer);
  if ((node.op != "MatMul" && node.op != "Gemm") || !HasRoomForDivision(node) ||
      !graph.IsConstant(node.inputs[1])) {
    return false;
  }
  FuseDivision(graph, producer, -1, factors);
  return true;
}

// A product with 1 / factors between the activation and the layers.
void DivideActivation(Graph& graph, const Group& group, std::span<const float> factors) {
  std::vector<float> inverse(factors.begin(), factors.end());
  for (float& factor : inverse) factor = 1 / factor;
  const graph::Value value = graph.value(group.activation);
  const ValueId constant =
      graph.AddConstant(absl::StrCat(value.name, ".smoothing"),
                        Tensor::Of<float>({static_cast<int64_t>(inverse.size())}, inverse));
  const ValueId smoothed = graph.Apply("Mul", absl::StrCat(value.name, ".smoothed"),
                                       {group.activation, constant}, {}, value.type);
  for (const NodeId id : group.layers) graph.SetInput(id, 0, smoothed);
}

// True if the layer in front took the division.
absl::StatusOr<bool> Smooth(Graph& graph, const Group& group, std::span<const float> factors) {
  for (const NodeId id : group.layers) {
    OCTET_RETURN_IF_ERROR(MultiplyWeights(graph, id, factors, ".smoothed"));
  }
  if (FoldIntoNormalization(graph, group, factors)) return true;
  if (FoldIntoLayer(graph, group, factors)) return true;
  DivideActivation(graph, group, factors);
  return false;
}

double LargestOverMean(std::span<const float> magnitudes) {
  const double sum = std::accumulate(magnitudes.begin(), magnitudes.end(), 0.0);
  const float largest = *std::max_element(magnitudes.begin(), magnitudes.end());
  return sum > 0 ? largest * static_cast<double>(magnitudes.size()) / sum : 1;
}

}  // namespace

absl::StatusOr<SmoothingReport> SmoothActivations(Graph& graph, Samples samples,
                                                  std::optional<double> alpha, int threads) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<Group> groups, FindGroups(graph));
  SmoothingReport report;
  if (groups.empty()) return report;
  std::vector<ValueId> activations;
  activations.reserve(groups.size());
  for (const Group& group : groups) activations.push_back(group.activation);
  std::vector<ActivationStatistics> statistics;
  {
    kernels::WeightCache weights(graph.tensor_file());
    OCTET_ASSIGN_OR_RETURN(
        statistics, StatisticsByChannel(graph, activations, -1, samples, {weights, threads}));
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    OCTET_ASSIGN_OR_RETURN(const std::vector<float> factors,
                           ChooseFactors(graph, group, statistics[i].channels, alpha));
    OCTET_ASSIGN_OR_RETURN(const bool folded, Smooth(graph, group, factors));
    graph.RemoveDeadNodes();  // of the weights as they were nothing is to stay in memory
    report.folded += folded ? 1 : 0;
    ++report.activations;
    report.smoothed.push_back({group.activation, factors});
    std::vector<float> magnitudes = Magnitudes(statistics[i].channels);
    report.worst_ratio_before = std::max(report.worst_ratio_before, LargestOverMean(magnitudes));
    for (size_t c = 0; c < magnitudes.size(); ++c) magnitudes[c] /= factors[c];
    report.worst_ratio_after = std::max(report.worst_ratio_after, LargestOverMean(magnitudes));
  }
  OCTET_RETURN_IF_ERROR(graph.Verify());
  return report;
}

absl::Status SmoothAsBefore(Graph& graph, const std::vector<SmoothedActivation>& smoothed) {
  if (smoothed.empty()) return absl::OkStatus();
  OCTET_ASSIGN_OR_RETURN(const std::vector<Group> groups, FindGroups(graph));
  for (const SmoothedActivation& activation : smoothed) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& other) {
      return other.activation == activation.value;
    });
    if (group == groups.end()) {
      OCTET_RETURN_IF_ERROR(EqualizeAsBefore(graph, activation));
      continue;
    }
    const NodeId layer = group->layers.front();
    const auto dimension = static_cast<size_t>(InputChannelDimension(graph, layer));
    OCTET_RETURN_IF_ERROR(CheckFactors(graph.value(group->activation).name, activation.factors,
                                       static_cast<size_t>(WeightShape(graph, layer)[dimension])));
    OCTET_RETURN_IF_ERROR(Smooth(graph, *group, activation.factors).status());
  }
  graph.RemoveDeadNodes();
  return graph.Verify();
}

}  // namespace octet::runtime
