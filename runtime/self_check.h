// The proof, while a model is loaded, that this processor's int8 kernels compute what they should.
//
// oneDNN chooses a kernel by shape and instruction set. Some products saturate in 16 bits on CPUs
// without VNNI, and some combinations of attributes are accepted and computed wrongly. So every
// distinct int8 layer runs once on its real shape, with random data, and a sample of its results is
// compared with exact integers.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"

namespace octet::runtime {

struct KernelMismatch {
  std::string node;    // the layer
  std::string kernel;  // the implementation that served it
  std::string detail;  // what it computed, and what is right
};

struct SelfCheckResult {
  std::vector<KernelMismatch> mismatches;
  int layers = 0;   // with int8 weights
  int checked = 0;  // of these, distinct in shape, types and fused operators
};

// Checks the layers of `graph`, which has its weights' bytes, as they are for these input shapes. A
// result is wrong that is off by more than one code or, where results are float, by more than 1e-4
// of the largest. Weights are packed into `weights`, the model's own cache: what is checked is what
// will be served. A batch of large images is checked with as many as 2 Mi elements hold, one at
// least. Layers that have no exact form here (kernels for weights that are no constants)
// are not checked. Errors are those of inference and lowering.
absl::StatusOr<SelfCheckResult> CheckInt8Layers(const graph::Graph& graph,
                                                std::span<const Shape> input_shapes,
                                                kernels::WeightCache& weights);

}  // namespace octet::runtime
