// Smoothing before quantization: channels of an activation that are far larger than the others are
// divided, and the weights that read them multiplied, so that one range fits all channels (Xiao et
// al., "SmoothQuant", 2022). The network's outputs stay the same but for rounding.

#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "runtime/evaluate.h"

namespace octet::runtime {

// An activation and what each of its channels is divided by.
struct SmoothedActivation {
  graph::ValueId value{};
  std::vector<float> factors;
};

struct SmoothingReport {
  int activations = 0;  // that were smoothed
  int folded = 0;       // of these, into the LayerNormalization or layer that makes them
  // The largest channel over the mean channel, the worst activation: before and after.
  double worst_ratio_before = 0, worst_ratio_after = 0;
  std::vector<SmoothedActivation> smoothed;
};

// Smooths the inputs of every MatMul and Gemm with constant float weights that will be quantized.
// `alpha` from 0 to 1 says how much of the difficulty moves into the weights. Without it each
// activation gets the one that leaves its layers the least noise, as far as ranges and powers of
// the channels tell. Deterministic: the same graph and samples give the same graph.
//   FailedPrecondition  no samples
absl::StatusOr<SmoothingReport> SmoothActivations(graph::Graph& graph, Samples samples,
                                                  std::optional<double> alpha, int threads = 1);

// The same again on the same graph, with what reports say was done, EqualizeChannels()'s after this
// one's. InvalidArgument if these are not activations of this graph, or factors are not finite and
// positive.
absl::Status SmoothAsBefore(graph::Graph& graph, const std::vector<SmoothedActivation>& smoothed);

}  // namespace octet::runtime
