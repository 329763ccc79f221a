// Channels of equal range between convolutions: an activation's channels that are far smaller than
// the others waste most of its 256 codes. Each channel is divided by a factor where the activation
// is made and the weights that read it are multiplied by the same, so that one range fits all
// channels; the network's outputs stay the same but for rounding. Depthwise convolutions gain most:
// their weights have a scale per channel anyway and lose nothing.
//
// After SmoothQuant (Xiao et al., 2022) and cross-layer equalization (Nagel et al., "Data-Free
// Quantization", 2019), with the ranges of samples instead of the weights' alone, and through
// activations that are not linear in their scale: there the division is an operator of its own in
// the kernel in front (a binary post-op).

#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "runtime/evaluate.h"
#include "runtime/smooth_activations.h"

namespace octet::runtime {

struct EqualizationReport {
  std::vector<SmoothedActivation> equalized;
  int folded = 0;  // of these, into the weights in front, at no cost
};

// Equalizes what one convolution hands only to others, by ranges and powers of the channels over
// the samples, wherever that takes half a decibel or more from the noise expected behind them.
// Convolutions are dense or depthwise and have constant float weights. Deterministic.
//   FailedPrecondition  no samples
absl::StatusOr<EqualizationReport> EqualizeChannels(graph::Graph& graph, Samples samples,
                                                    int threads = 1);

// Whether EqualizeChannels() may have chosen this activation.
bool IsEqualizable(const graph::Graph& graph, graph::ValueId activation);

// One of them again on the same graph. InvalidArgument if it is not such an activation, or factors
// are not finite and positive, one per channel. The caller verifies the graph.
absl::Status EqualizeAsBefore(graph::Graph& graph, const SmoothedActivation& equalized);

}  // namespace octet::runtime
