#include "runtime/equalize_channels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/selection.h"
#include "runtime/channel_factors.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

// Less is not worth an operator in the kernel.
constexpr double kMostNoiseLeft = 0.89;  // -0.5 dB
constexpr float kSmallestFactor = 1.0f / 256;
// How far below zero the common range may reach for each unit above it; how much of the
// difference between channels goes; how much of the difficulty the weights take, as in SmoothQuant.
constexpr double kTilts[] = {1.0 / 32, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0 / 2, 1};
constexpr double kStrengths[] = {0.25, 0.5, 0.75, 1};
constexpr double kAlphas[] = {0.5, 1};
// Elements of a sample that a channel's new extreme stands for.
constexpr double kElementsBeyond = 4;

// What one convolution hands to others only.
struct Group {
  ValueId activation{};
  NodeId producer{};
  std::vector<NodeId> layers;
};

int64_t InputChannels(const Graph& graph, NodeId id) {
  return WeightShape(graph, id)[1] * graph.node(id).Int("group", 1);
}

bool IsFloatConstant(const Graph& graph, ValueId id) {
  return graph.IsConstant(id) && graph.value(id).constant->dtype() == DataType::kFloat32;
}

// (f(x / s) = f(x) / s for positive s)
bool IsHomogeneous(const Node& node) {
  return std::all_of(node.fused.begin(), node.fused.end(), [](const graph::FusedOp& fused) {
    return fused.op == "Relu" || fused.op == "LeakyRelu";
  });
}

// A convolution whose result can be divided channel by channel.
bool CanDivide(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op != "Conv" || node.outputs.size() != 1 || !IsFloatConstant(graph, node.inputs[1])) {
    return false;
  }
  if (node.HasInput(2) && !IsFloatConstant(graph, node.inputs[2])) return false;
  // Operands of the chain would have to be divided, too.
  const bool reads_operands =
      std::any_of(node.fused.begin(), node.fused.end(),
                  [](const graph::FusedOp& fused) { return fused.input >= 0; });
  return !reads_operands && (IsHomogeneous(node) || HasRoomForDivision(node));
}

absl::StatusOr<std::vector<Group>> FindGroups(const Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> layers, quant::QuantizableLayers(graph));
  std::map<ValueId, Group> readers;  // ordered: the result must not depend on hashing
  for (const NodeId id : layers) {
    if (graph.node(id).op != "Conv") continue;
    if (graph.node(id).Int("group", 1) > 1 && !IsDepthwise(graph, id)) continue;
    Group& group = readers[graph.node(id).inputs[0]];
    group.activation = graph.node(id).inputs[0];
    group.layers.push_back(id);
  }
  std::vector<Group> groups;
  for (auto& [activation, group] : readers) {
    const graph::Value& value = graph.value(activation);
    if (!value.producer || !CanDivide(graph, *value.producer)) continue;
    if (graph.IsGraphOutput(activation) || value.consumers.size() != group.layers.size()) continue;
    group.producer = *value.producer;
    const int64_t channels = WeightShape(graph, group.producer)[0];
    const bool fits = std::all_of(group.layers.begin(), group.layers.end(),
                                  [&](NodeId id) { return InputChannels(graph, id) == channels; });
    if (fits) groups.push_back(std::move(group));
  }
  return groups;
}

// What the weights of a layer make of noise in their input, and of their own.
struct Reader {
  struct Entry {
    size_t channel;
    float largest;  // magnitude of the output channel's weights on this input channel
  };
  std::vector<std::vector<Entry>> outputs;
  std::vector<double> power;  // of all weights on an input channel
  double taps = 1;
};

Reader Read(const Graph& graph, NodeId id, size_t channels) {
  Reader reader{.power = std::vector<double>(channels, 0)};
  reader.outputs.resize(static_cast<size_t>(WeightShape(graph, id)[0]));
  const auto weights = graph.value(graph.node(id).inputs[1]).constant->As<float>();
  ForEachWeight(graph, id, [&](size_t channel, size_t output, size_t element) {
    const float weight = weights[element];
    std::vector<Reader::Entry>& entries = reader.outputs[output];
    if (entries.empty() || entries.back().channel != channel) entries.push_back({channel, 0});
    entries.back().largest = std::max(entries.back().largest, std::abs(weight));
    reader.power[channel] += double{weight} * weight;
  });
  const Shape& shape = WeightShape(graph, id);
  for (size_t d = 2; d < shape.size(); ++d) reader.taps *= static_cast<double>(shape[d]);
  return reader;
}

// What a choice of factors follows from.
struct Choice {
  double tilt = 1, strength = 1, alpha = 1;
};

// The channels of an activation, and what reads them.
struct Channels {
  std::span<const ChannelStatistics> statistics;
  double samples = 1;
  double elements = 1;  // of a channel in a sample
  std::vector<Reader> readers;
  std::vector<float> weight_magnitudes;
};

// As they come out, of any common scale: by the extremes, or without the furthest sample.
std::vector<double> Factors(const Channels& channels, const Choice& choice, bool without_furthest) {
  std::vector<double> magnitudes;
  double largest = 0;
  for (const ChannelStatistics& channel : channels.statistics) {
    largest = std::max({largest, double{channel.highest}, -channel.lowest / choice.tilt});
    const double above = without_furthest ? channel.second_highest : channel.highest;
    const double below = without_furthest ? channel.second_lowest : channel.lowest;
    magnitudes.push_back(std::max(above, -below / choice.tilt));
  }
  for (size_t c = 0; c < magnitudes.size(); ++c) {
    double& factor = magnitudes[c];
    const double share = std::max(factor / largest, double{kSmallestFactor});
    factor = std::pow(share, choice.strength * choice.alpha);
    if (choice.alpha < 1 && channels.weight_magnitudes[c] > 0) {
      factor /= std::pow(channels.weight_magnitudes[c], 1 - choice.alpha);
    }
  }
  return magnitudes;
}

struct Range {
  double lowest = 0, highest = 0;
};

Range CommonRange(const Channels& channels, std::span<const double> factors) {
  Range range;
  for (size_t c = 0; c < factors.size(); ++c) {
    range.lowest = std::min(range.lowest, channels.statistics[c].lowest / factors[c]);
    range.highest = std::max(range.highest, channels.statistics[c].highest / factors[c]);
  }
  return range;
}

// Noise power behind the readers from rounding, when channel c is divided by factors[c]: of the
// activation, to 255 steps over one range, and of the weights, to 127 steps per output channel.
double RoundingNoise(const Channels& channels, std::span<const double> factors) {
  const Range range = CommonRange(channels, factors);
  const double step = (range.highest - range.lowest) / 255;
  double noise = 0;
  for (const Reader& reader : channels.readers) {
    for (size_t c = 0; c < factors.size(); ++c) {
      noise += step * step * reader.power[c] * factors[c] * factors[c];
    }
    for (const std::vector<Reader::Entry>& output : reader.outputs) {
      double largest = 0, power = 0;
      for (const auto& [channel, magnitude] : output) {
        const double factor = factors[channel];
        largest = std::max(largest, magnitude * factor);
        power += channels.statistics[channel].mean_square / (factor * factor);
      }
      noise += largest * largest / (127.0 * 127.0) * power * reader.taps;
    }
  }
  return noise / 12 * channels.elements;
}

// The same from clipping, of samples that go further than those seen: each channel's furthest
// sample, had its factor been chosen without it.
double ClippingNoise(const Channels& channels, const Choice& choice,
                     std::span<const double> factors) {
  const Range range = CommonRange(channels, factors);
  const std::vector<double> without = Factors(channels, choice, /*without_furthest=*/true);
  double noise = 0;
  for (size_t c = 0; c < factors.size(); ++c) {
    const ChannelStatistics& channel = channels.statistics[c];
    const double above = std::max(0.0, channel.highest - range.highest * without[c]);
    const double below = std::max(0.0, range.lowest * without[c] - channel.lowest);
    for (const Reader& reader : channels.readers) {
      noise += (above * above + below * below) * reader.power[c];
    }
  }
  return noise * kElementsBeyond / channels.samples;
}

// Empty if none takes enough of the noise.
std::vector<float> ChooseFactors(const Channels& channels) {
  const bool reaches_below =
      std::any_of(channels.statistics.begin(), channels.statistics.end(),
                  [](const ChannelStatistics& channel) { return channel.lowest < 0; });
  double least =
      kMostNoiseLeft * RoundingNoise(channels, std::vector<double>(channels.statistics.size(), 1));
  std::vector<double> best;
  for (const double tilt : kTilts) {
    if (!reaches_below && tilt != 1) continue;
    for (const double strength : kStrengths) {
      for (const double alpha : kAlphas) {
        const Choice choice{tilt, strength, alpha};
        std::vector<double> factors = Factors(channels, choice, /*without_furthest=*/false);
        const double noise =
            RoundingNoise(channels, factors) + ClippingNoise(channels, choice, factors);
        if (!(noise < least)) continue;
        least = noise;
        best = std::move(factors);
      }
    }
  }
  if (best.empty()) return {};
  const double largest = *std::max_element(best.begin(), best.end());
  std::vector<float> factors;
  factors.reserve(best.size());
  for (const double factor : best) {
    factors.push_back(std::max(static_cast<float>(factor / largest), kSmallestFactor));
  }
  return factors;
}

Channels Describe(const Graph& graph, const Group& group,
                  std::span<const ChannelStatistics> statistics, size_t samples) {
  Channels channels{.statistics = statistics, .samples = static_cast<double>(samples)};
  channels.weight_magnitudes.assign(statistics.size(), 0);
  for (const NodeId id : group.layers) {
    channels.readers.push_back(Read(graph, id, statistics.size()));
    for (const std::vector<Reader::Entry>& output : channels.readers.back().outputs) {
      for (const auto& [channel, largest] : output) {
        float& magnitude = channels.weight_magnitudes[channel];
        magnitude = std::max(magnitude, largest);
      }
    }
  }
  return channels;
}

// Output channels of the layer in front.
absl::Status DivideWeights(Graph& graph, NodeId id, std::span<const float> factors) {
  for (size_t i = 1; i <= 2; ++i) {
    if (!graph.node(id).HasInput(i)) continue;
    const graph::Value& old = graph.value(graph.node(id).inputs[i]);
    OCTET_ASSIGN_OR_RETURN(Tensor divided, Tensor::Allocate(DataType::kFloat32, old.type.shape));
    const auto from = old.constant->As<float>();
    const auto to = divided.MutableAs<float>();
    const size_t row = from.size() / factors.size();
    for (size_t e = 0; e < row * factors.size(); ++e) to[e] = from[e] / factors[e / row];
    graph.SetInput(id, i,
                   graph.AddConstant(absl::StrCat(old.name, ".divided"), std::move(divided)));
  }
  return absl::OkStatus();
}

// True if the weights in front took the division.
absl::StatusOr<bool> Equalize(Graph& graph, const Group& group, std::span<const float> factors) {
  for (const NodeId id : group.layers) {
    OCTET_RETURN_IF_ERROR(MultiplyWeights(graph, id, factors, ".equalized"));
  }
  if (!IsHomogeneous(graph.node(group.producer))) {
    FuseDivision(graph, group.producer, 1, factors);
    return false;
  }
  OCTET_RETURN_IF_ERROR(DivideWeights(graph, group.producer, factors));
  return true;
}

absl::StatusOr<std::optional<Group>> FindGroup(const Graph& graph, ValueId activation) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<Group> groups, FindGroups(graph));
  const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& candidate) {
    return candidate.activation == activation;
  });
  return group == groups.end() ? std::nullopt : std::optional(*group);
}

}  // namespace

absl::StatusOr<EqualizationReport> EqualizeChannels(Graph& graph, Samples samples, int threads) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<Group> groups, FindGroups(graph));
  EqualizationReport report;
  if (groups.empty()) return report;
  std::vector<ValueId> activations;
  activations.reserve(groups.size());
  for (const Group& group : groups) activations.push_back(group.activation);
  std::vector<ActivationStatistics> statistics;
  {
    kernels::WeightCache weights(graph.tensor_file());
    OCTET_ASSIGN_OR_RETURN(statistics,
                           StatisticsByChannel(graph, activations, 1, samples, {weights, threads}));
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    Channels channels = Describe(graph, groups[i], statistics[i].channels, samples.size());
    channels.elements = statistics[i].elements / channels.samples;
    std::vector<float> factors = ChooseFactors(channels);
    if (factors.empty()) continue;
    OCTET_ASSIGN_OR_RETURN(const bool folded, Equalize(graph, groups[i], factors));
    graph.RemoveDeadNodes();  // of the weights as they were nothing is to stay in memory
    report.folded += folded ? 1 : 0;
    report.equalized.push_back({groups[i].activation, std::move(factors)});
  }
  OCTET_RETURN_IF_ERROR(graph.Verify());
  return report;
}

bool IsEqualizable(const Graph& graph, ValueId activation) {
  const absl::StatusOr<std::optional<Group>> group = FindGroup(graph, activation);
  return group.ok() && group->has_value();
}

absl::Status EqualizeAsBefore(Graph& graph, const SmoothedActivation& equalized) {
  OCTET_ASSIGN_OR_RETURN(const std::optional<Group> group, FindGroup(graph, equalized.value));
  if (!group) {
    return absl::InvalidArgumentError("equalized channels: the graph has no such activation");
  }
  OCTET_RETURN_IF_ERROR(CheckFactors(graph.value(equalized.value).name, equalized.factors,
                                     static_cast<size_t>(WeightShape(graph, group->producer)[0])));
  return Equalize(graph, *group, equalized.factors).status();
}

}  // namespace octet::runtime
