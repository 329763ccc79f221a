// Cross-layer equalization: between two layers with only a ReLU, PReLU or nothing between them a
// channel may be divided by s in the first and multiplied by s in the second without changing the
// network; s is chosen so that all channels have like ranges (Nagel et al., "Data-Free
// Quantization", 2019). Pure functions: thread-safe for different tensors.

#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/affine.h"

namespace octet::quant {

// A weight tensor seen from the dimension whose channels two layers share: output channels of the
// first, input channels of the second. For a depthwise second layer that is its only channel
// dimension.
struct SharedChannels {
  std::span<float> weights;
  ChannelLayout layout;
};

// `bias` is the first layer's, one number per channel, or empty.
struct LayerPair {
  SharedChannels first;
  std::span<float> bias;
  SharedChannels second;
};

struct EqualizeOptions {
  int max_sweeps = 20;
  double tolerance = 1e-3;  // ends when no factor differs from 1 by more, in log
};

struct EqualizeResult {
  // Per pair and channel, what the first layer was divided and the second multiplied by: from 2^-8
  // to 2^8, 1 for channels that are all zero in either.
  std::vector<std::vector<float>> factors;
  int sweeps = 0;
};

// sqrt(first_c / second_c), or 1 where either is 0. Spans of magnitudes are equally long.
std::vector<double> EqualizingFactors(std::span<const float> first, std::span<const float> second);

// The largest magnitude of each channel.
std::vector<float> ChannelMagnitudes(const SharedChannels& channels);

// Equalizes all pairs in turn until nothing moves, in place; a tensor may be second in one pair and
// first in the next. InvalidArgument, with nothing changed, if the layouts of a pair do not fit its
// tensors or one another, or a weight is not finite.
absl::StatusOr<EqualizeResult> EqualizeLayers(std::span<const LayerPair> pairs,
                                              const EqualizeOptions& options);

}  // namespace octet::quant
