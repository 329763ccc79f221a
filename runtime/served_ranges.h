// The ranges that a quantized model can represent of what its layers read, and running its float32
// original so that those values can be seen: does production stay within what was calibrated?

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "runtime/compiled_model.h"
#include "runtime/quantize_model.h"
#include "runtime/smooth_activations.h"

namespace octet::runtime {

// What a layer reads as codes with a range from calibration.
struct ServedRange {
  graph::ValueId value{};  // of the float network, smoothed
  std::string layer;       // the first that reads it
  float low = 0, high = 0;
};

struct ServedRanges {
  bool equalized = false;                     // the float network was, before it was smoothed
  std::vector<SmoothedActivation> smoothing;  // of the float network
  std::vector<ServedRange> ranges;
};

// Of a network that was made of a float network, smoothed so and transformed as its report says.
ServedRanges RangesOf(const graph::Graph& quantized, std::vector<SmoothedActivation> smoothing,
                      const QuantizeReport& report = {});

// Transforms the float network in the same way, and makes these values outputs behind its own,
// named after the layers; of networks that batch, only values whose rows are those of the batch.
// Errors are those of EqualizeConvolutions() and SmoothAsBefore()'s and those of shape inference.
absl::Status WatchRanges(const ServedRanges& ranges, bool batchable,
                         std::span<const Shape> example_shapes, graph::Graph& graph,
                         std::vector<TensorSpec>& outputs);

// The share of the finite values that is outside of the range; 0 of none.
double ClippedShare(std::span<const float> values, const ServedRange& range);

}  // namespace octet::runtime
