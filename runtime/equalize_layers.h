// Cross-layer equalization of a network (quant/cross_layer.h): which convolutions share channels
// that can be scaled in one and back in the other.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// As reports name it.
inline constexpr char kEqualization[] = "cross_layer_equalization";

bool WantsEqualization(const QuantizeOptions& options);

// Equalizes all convolutions that only one convolution reads, ungrouped or depthwise, with nothing
// between them but Relu, LeakyRelu, PRelu and pooling; and names both. Clips (ReLU6) have a bound
// that does not move with the channels, so they end a pair. What the network computes stays the
// same but for rounding; the result depends on nothing but the graph.
absl::StatusOr<std::vector<std::string>> EqualizeConvolutions(graph::Graph& graph);

}  // namespace octet::runtime
