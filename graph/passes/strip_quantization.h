// A pass that is not of every pipeline.

#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace octet::graph {

// QuantizeLinear and DequantizeLinear go, with what the quantizers cut off left in: the float model
// that was quantized.
absl::StatusOr<int> StripQuantization(Graph& graph);

}  // namespace octet::graph
