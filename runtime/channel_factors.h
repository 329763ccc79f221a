// Factors that move difficulty from the channels of an activation into the weights that read it:
// what smoothing (runtime/smooth_activations) and equalized channels (runtime/equalize_channels)
// have in common.

#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace octet::runtime {

const Shape& WeightShape(const graph::Graph& graph, graph::NodeId layer);

// A convolution each of whose output channels reads one input channel.
bool IsDepthwise(const graph::Graph& graph, graph::NodeId layer);

// The dimension of a MatMul's or Gemm's constant weight matrix that its input's channels meet; -1
// if the layer is another one.
int InputChannelDimension(const graph::Graph& graph, graph::NodeId layer);

// Calls visit(input channel, output channel, element) for every weight: of a MatMul or Gemm with
// InputChannelDimension() >= 0, or of a Conv with one group or depthwise.
template <typename Visit>
void ForEachWeight(const graph::Graph& graph, graph::NodeId layer, Visit visit) {
  const Shape& shape = WeightShape(graph, layer);
  const auto outputs = static_cast<size_t>(shape[0]), inputs = static_cast<size_t>(shape[1]);
  size_t taps = 1, element = 0;
  for (size_t d = 2; d < shape.size(); ++d) taps *= static_cast<size_t>(shape[d]);
  const bool by_rows = InputChannelDimension(graph, layer) == 0;
  const size_t per_channel = IsDepthwise(graph, layer)
                                 ? outputs / static_cast<size_t>(graph.node(layer).Int("group", 1))
                                 : 0;
  for (size_t i = 0; i < outputs; ++i) {
    for (size_t j = 0; j < inputs; ++j) {
      const size_t channel = by_rows ? i : per_channel > 0 ? i / per_channel : j;
      const size_t output = by_rows ? j : i;
      for (size_t tap = 0; tap < taps; ++tap) visit(channel, output, element++);
    }
  }
}

// Multiplies the weights on each input channel by its factor; the new constant is called after the
// old one, with `suffix`. ResourceExhausted without memory.
absl::Status MultiplyWeights(graph::Graph& graph, graph::NodeId layer,
                             std::span<const float> factors, absl::string_view suffix);

// Whether FuseDivision() may add to the node's chain.
bool HasRoomForDivision(const graph::Node& node);

// A product with 1 / factors at the end of the chain of a Conv, MatMul or Gemm: its result is
// divided along `dimension`, -1 the last.
void FuseDivision(graph::Graph& graph, graph::NodeId producer, int dimension,
                  std::span<const float> factors);

// InvalidArgument, which names the activation, unless there are `channels` factors that are finite
// and positive, and their inverses too.
absl::Status CheckFactors(absl::string_view activation, std::span<const float> factors,
                          size_t channels);

}  // namespace octet::runtime
