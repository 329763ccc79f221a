// 8-bit weights whose rounding errors make up for each other, as far as a layer's inputs let them:
// the error feedback of quant/gptq.h under scales that have been chosen before. What it is for:
// where a few inputs, or all of them together, are much larger than what a layer makes of them, as
// in first layers that look for edges in bright images, errors of a thousandth of a weight are as
// large as the result.

#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/affine.h"
#include "quant/hessian.h"
#include "quant/weights.h"
#include "runtime/evaluate.h"
#include "runtime/layer_inputs.h"

namespace octet::runtime {

struct RoundedLayer {
  graph::NodeId layer{};  // the only one that reads these weights
  quant::QuantizedWeights* weights = nullptr;
};

struct RoundingOptions {
  quant::Grid grid = quant::kSymmetricInt8;
  double damping = 0.01;
  // Inputs that meet a weight, at the most: the time grows with their cube, the memory with their
  // square.
  int64_t most_columns = 640;
  int threads = 1;
  // Of statistics that exist at a time; layers whose own take more are left as they are.
  int64_t hessian_bytes = kMostHessianBytes;
};

// Hessians that somebody has, by what they are of.
using KnownHessians = std::map<RowInput, quant::Hessian>;

// What CompensateRounding() would know of these layers, sorted.
std::vector<RowInput> InputsForRounding(const graph::Graph& graph,
                                        std::span<const graph::NodeId> layers,
                                        const RoundingOptions& options);

// Rounds the weights of these layers anew where their inputs can be known: of Conv, MatMul and
// Gemm. For inputs that are not known yet a few of the samples, taken evenly, are run through the
// float network, once for all statistics that fit. The result does not depend on `threads`. Errors
// are CollectHessians()'.
absl::Status CompensateRounding(const graph::Graph& graph, std::span<const RoundedLayer> layers,
                                const RoundingOptions& options, Samples samples,
                                kernels::WeightCache& floats, KnownHessians known = {});

}  // namespace octet::runtime
