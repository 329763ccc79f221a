// The weights of Conv, ConvTranspose, Gemm and MatMul by channel: what the folding passes multiply
// and shift.

#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace octet::graph {

class WeightChannels {
 public:
  // None if the weights, or the bias, are not float32 constants, or the node is not a plain linear
  // function of input 0 (alpha and beta of a Gemm, something fused).
  static std::optional<WeightChannels> Of(const Graph& graph, const Node& node);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  // So many elements, from a multiple of it, belong to the same output and input channel; the same
  // output channel.
  int64_t run() const { return std::min(output_.stride, input_.stride); }
  int64_t output_run() const { return output_.stride; }
  int64_t OutputOf(int64_t element) const { return Index(element, output_); }
  int64_t InputOf(int64_t element) const { return Index(element, input_); }

  // Where the channels of the node's result, and of input 0, are, from the last dimension.
  size_t result_from_end() const { return result_from_end_; }
  // None if input 0 has no such dimension: a transposed Gemm.
  std::optional<size_t> source_from_end() const { return source_from_end_; }

 private:
  // A channel is element / stride % size, plus `per_group` for every group before the element's.
  struct Place {
    int64_t stride = 1, size = 1, per_group = 0;
  };
  static std::optional<WeightChannels> OfConvolution(const Node& node, const Tensor& weight);
  static std::optional<WeightChannels> OfProduct(const Node& node, const Tensor& weight);
  int64_t Index(int64_t element, const Place& place) const {
    return element / place.stride % place.size + element / group_stride_ * place.per_group;
  }

  int64_t outputs_ = 0, inputs_ = 0;
  int64_t group_stride_ = 1;  // elements of the weight that belong to one group
  Place output_, input_;
  size_t result_from_end_ = 0;
  std::optional<size_t> source_from_end_;
};

// The constant as one value per channel of a value that it is added to or multiplied with: it has
// one element, or one for each index of the channels' dimension. `value` keeps its shape.
std::optional<std::vector<float>> PerChannel(const Graph& graph, ValueId constant, ValueId value,
                                             size_t channel_from_end, int64_t channels);

// New weights w * outputs[o] * inputs[i], of which either may be empty: none. New constants, not
// edited ones: another node may share the old weights.
absl::Status ScaleWeights(Graph& graph, NodeId id, const WeightChannels& channels,
                          std::span<const float> outputs, std::span<const float> inputs);

// A new bias: bias * scales + shifts. Empty: no scaling.
absl::Status ChangeBias(Graph& graph, NodeId id, const WeightChannels& channels,
                        std::span<const float> scales, std::span<const float> shifts);

}  // namespace octet::graph
