#include "runtime/input_powers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "quant/affine.h"
#include "quant/selection.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;

constexpr float kLeastImportance = 1e-3f;

struct Sums {
  std::vector<double> squares;
  int64_t count = 0;  // of each channel

  absl::Status Add(const ConstTensorView& input, int axis) {
    OCTET_ASSIGN_OR_RETURN(const quant::ChannelLayout layout,
                           quant::LayoutAlong(input.shape, axis));
    squares.resize(static_cast<size_t>(layout.channels));
    const auto values = input.As<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) continue;
      squares[i / static_cast<size_t>(layout.inner) % squares.size()] +=
          double{values[i]} * values[i];
    }
    count += layout.channel_size();
    return absl::OkStatus();
  }
};

// The input channel of a group that each weight of an output channel's row meets.
struct WeightShape {
  int64_t outputs = 0, group_channels = 0, positions = 1, groups = 1;
};

WeightShape ShapeOf(const Graph& graph, NodeId id) {
  const graph::Node& layer = graph.node(id);
  const Shape& shape = graph.value(layer.inputs[1]).type.shape;
  const auto axis = static_cast<size_t>(quant::WeightAxis(layer, shape));
  const int64_t columns = ElementCount(shape) / shape[axis];
  if (layer.op != "Conv") return {shape[axis], columns};
  return {shape[0], shape[1], columns / std::max<int64_t>(shape[1], 1), layer.Int("group", 1)};
}

// Of the input channels; empty as in ImportanceOf().
std::vector<float> ChannelImportance(std::span<const NodeId> layers, const InputPowers& powers,
                                     size_t channels) {
  std::vector<float> sum(channels, 0);
  for (const NodeId layer : layers) {
    const auto found = powers.find(layer);
    if (found == powers.end() || found->second.size() != channels) return {};
    for (size_t c = 0; c < channels; ++c) sum[c] += found->second[c];
  }
  const double mean = std::accumulate(sum.begin(), sum.end(), 0.0) / static_cast<double>(channels);
  if (!(mean > 0) || !std::isfinite(mean)) return {};
  for (float& power : sum) {
    power = std::max(static_cast<float>(power / mean), kLeastImportance);
  }
  return sum;
}

}  // namespace

absl::StatusOr<InputPowers> MeasureInputPowers(const Graph& graph, std::span<const NodeId> layers,
                                               Samples samples, Resources resources) {
  std::vector<graph::ValueId> values;
  for (const NodeId layer : layers) values.push_back(graph.node(layer).inputs[0]);
  std::vector<Sums> sums(layers.size());
  OCTET_RETURN_IF_ERROR(VisitValues(graph, values, samples, resources,
                                    [&](size_t i, const ConstTensorView& input) -> absl::Status {
                                      const bool convolution = graph.node(layers[i]).op == "Conv";
                                      return sums[i].Add(input, convolution ? 1 : input.rank() - 1);
                                    }));
  InputPowers powers;
  for (size_t i = 0; i < layers.size(); ++i) {
    std::vector<float>& power = powers[layers[i]];
    for (const double square : sums[i].squares) {
      power.push_back(
          static_cast<float>(square / static_cast<double>(std::max<int64_t>(sums[i].count, 1))));
    }
  }
  return powers;
}

std::vector<float> ColumnImportance(const Graph& graph, std::span<const NodeId> layers,
                                    const InputPowers& powers) {
  const WeightShape shape = ShapeOf(graph, layers[0]);
  if (shape.groups != 1) return {};
  const std::vector<float> channels =
      ChannelImportance(layers, powers, static_cast<size_t>(shape.group_channels));
  std::vector<float> columns;
  for (const float importance : channels) {
    columns.insert(columns.end(), static_cast<size_t>(shape.positions), importance);
  }
  return columns;
}

std::vector<float> ImportanceOf(const Graph& graph, std::span<const NodeId> layers,
                                const InputPowers& powers) {
  const WeightShape shape = ShapeOf(graph, layers[0]);
  const std::vector<float> channels =
      ChannelImportance(layers, powers, static_cast<size_t>(shape.group_channels * shape.groups));
  if (channels.empty()) return {};
  const graph::Node& layer = graph.node(layers[0]);
  const Shape& dims = graph.value(layer.inputs[1]).type.shape;
  const bool rows_first = quant::WeightAxis(layer, dims) == 0;
  std::vector<float> importance(static_cast<size_t>(ElementCount(dims)));
  const int64_t columns = shape.group_channels * shape.positions;
  const int64_t group_outputs = std::max<int64_t>(shape.outputs / shape.groups, 1);
  for (size_t i = 0; i < importance.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const int64_t row = rows_first ? index / columns : index % shape.outputs;
    const int64_t column = rows_first ? index % columns : index / shape.outputs;
    const int64_t channel = row / group_outputs * shape.group_channels + column / shape.positions;
    importance[i] = channels[static_cast<size_t>(channel)];
  }
  return importance;
}

}  // namespace octet::runtime
