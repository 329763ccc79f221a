#include "runtime/equalize_layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/cross_layer.h"
#include "quant/selection.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;

constexpr size_t kWeights = 1, kBias = 2;  // indices among the inputs of a convolution

bool IsOneOf(absl::string_view op, std::span<const absl::string_view> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

// Functions with f(s x) = s f(x) for s > 0, which runs in the convolution's kernel.
bool ScalesWithItsInput(const graph::Node& node) {
  static constexpr std::array<absl::string_view, 2> kFused = {"Relu", "LeakyRelu"};
  return std::all_of(node.fused.begin(), node.fused.end(),
                     [](const graph::FusedOp& fused) { return IsOneOf(fused.op, kFused); });
}

// The same as nodes of their own, channel by channel.
bool MayStandBetween(const graph::Node& node, ValueId input) {
  static constexpr std::array<absl::string_view, 6> kBetween = {
      "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool"};
  return IsOneOf(node.op, kBetween) && node.inputs[0] == input && node.outputs.size() == 1 &&
         ScalesWithItsInput(node);
}

// Constant float32 that nobody else reads, all of it finite.
bool IsOwn(const Graph& graph, ValueId id) {
  const graph::Value& value = graph.value(id);
  if (!value.constant || value.constant->dtype() != DataType::kFloat32) return false;
  if (value.type.quant || value.consumers.size() != 1 || graph.IsGraphOutput(id)) return false;
  const auto numbers = value.constant->As<float>();
  return std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); });
}

bool IsUsable(const Graph& graph, const graph::Node& node) {
  return node.op == "Conv" && node.HasInput(kWeights) && IsOwn(graph, node.inputs[kWeights]);
}

// Of the weights of a convolution that reads these channels.
std::optional<quant::ChannelLayout> InputChannels(const Graph& graph, const graph::Node& node) {
  const Shape& shape = graph.value(node.inputs[kWeights]).type.shape;
  const int64_t groups = node.Int("group", 1), elements = ElementCount(shape);
  if (groups == 1) return quant::ChannelLayout{shape[0], shape[1], elements / shape[0] / shape[1]};
  if (shape[1] != 1 || shape[0] % groups != 0) return std::nullopt;
  return quant::ChannelLayout{1, groups, elements / groups};
}

quant::ChannelLayout OutputChannels(const Graph& graph, const graph::Node& node) {
  const Shape& shape = graph.value(node.inputs[kWeights]).type.shape;
  return {1, shape[0], ElementCount(shape) / shape[0]};
}

// The convolution that alone reads what `first` makes.
std::optional<NodeId> Successor(const Graph& graph, NodeId first) {
  const graph::Node& node = graph.node(first);
  if (!IsUsable(graph, node) || !ScalesWithItsInput(node)) return std::nullopt;
  const int64_t channels = OutputChannels(graph, node).channels;
  if (node.HasInput(kBias) && (!IsOwn(graph, node.inputs[kBias]) ||
                               graph.value(node.inputs[kBias]).constant->size() != channels)) {
    return std::nullopt;
  }
  ValueId value = node.outputs[0];
  while (true) {
    const std::optional<NodeId> reader = graph.OnlyConsumer(value);
    if (!reader) return std::nullopt;
    const graph::Node& next = graph.node(*reader);
    if (MayStandBetween(next, value)) {
      value = next.outputs[0];
      continue;
    }
    if (!IsUsable(graph, next) || next.inputs[0] != value) return std::nullopt;
    const std::optional<quant::ChannelLayout> layout = InputChannels(graph, next);
    return layout && layout->channels == channels ? reader : std::nullopt;
  }
}

// Numbers of constants, to be changed.
class Constants {
 public:
  explicit Constants(Graph& graph) : graph_(graph) {}

  std::span<float> Of(NodeId node, size_t input) {
    const auto [found, added] = numbers_.try_emplace({node, input});
    if (added) {
      const auto old = graph_.value(graph_.node(node).inputs[input]).constant->As<float>();
      found->second.assign(old.begin(), old.end());
    }
    return found->second;
  }

  // Into the graph.
  void Store() {
    for (const auto& [place, numbers] : numbers_) {
      const auto& [node, input] = place;
      const graph::Value& old = graph_.value(graph_.node(node).inputs[input]);
      const std::string name = absl::StrCat(old.name, ".equalized");
      const Shape shape = old.type.shape;
      graph_.SetInput(node, input, graph_.AddConstant(name, Tensor::Of<float>(shape, numbers)));
    }
  }

 private:
  Graph& graph_;
  std::map<std::pair<NodeId, size_t>, std::vector<float>> numbers_;
};

}  // namespace

bool WantsEqualization(const QuantizeOptions& options) {
  using Equalization = QuantizeOptions::Equalization;
  return options.equalization == Equalization::kOn ||
         (options.equalization == Equalization::kAuto && !options.per_channel);
}

absl::StatusOr<std::vector<std::string>> EqualizeConvolutions(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> layers, quant::QuantizableLayers(graph));
  Constants constants(graph);
  std::vector<quant::LayerPair> pairs;
  std::set<NodeId> changed;
  for (const NodeId first : layers) {
    const std::optional<NodeId> second = Successor(graph, first);
    if (!second) continue;
    const graph::Node& node = graph.node(first);
    pairs.push_back(
        {.first = {constants.Of(first, kWeights), OutputChannels(graph, node)},
         .bias = node.HasInput(kBias) ? constants.Of(first, kBias) : std::span<float>(),
         .second = {constants.Of(*second, kWeights), *InputChannels(graph, graph.node(*second))}});
    changed.insert({first, *second});
  }
  OCTET_RETURN_IF_ERROR(quant::EqualizeLayers(pairs, {}).status());
  std::vector<std::string> names;
  for (const NodeId layer : layers) {
    if (changed.contains(layer)) names.push_back(graph.node(layer).name);
  }
  if (names.empty()) return names;
  constants.Store();
  graph.RemoveDeadNodes();
  OCTET_RETURN_IF_ERROR(graph.Verify());
  return names;
}

}  // namespace octet::runtime
