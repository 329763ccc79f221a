// The oracle of the tests: runs a graph by its operators' reference functions.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::testing {

// The graph's outputs for these inputs, which are in the engine's types (quantized inputs and
// outputs as codes). Fused operators run one after the other by their own reference functions.
// Quantized operands are dequantized, everything is computed in float, and quantized results are
// rounded half to even and saturated: what an exact kernel gives, but for the float rounding.
absl::StatusOr<std::vector<Tensor>> RunReference(const graph::Graph& graph,
                                                 std::vector<Tensor> inputs);

}  // namespace octet::testing
