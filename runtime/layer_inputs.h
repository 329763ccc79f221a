// The inputs of matrix products as rows that meet the weights: what error feedback (quant/gptq.h)
// needs to know of a layer.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/hessian.h"
#include "runtime/evaluate.h"

namespace octet::runtime {

// A value whose elements, `columns` at a time, are multiplied by a layer's weights.
struct ProductInput {
  graph::ValueId value{};
  int64_t columns = 0;
  // An image: a row has one element of each channel, which is dimension 1. Else the last dimension
  // is a row.
  bool image = false;
  std::vector<int64_t> strides;  // of an image: every which pixel is read, by dimension

  bool operator==(const ProductInput&) const = default;
  bool operator<(const ProductInput& other) const {
    return std::tie(value, image, strides) < std::tie(other.value, other.image, other.strides);
  }
};

// Of MatMul and Gemm with a constant matrix on the right, and of 1x1 convolutions without groups
// and padding. Nothing for other layers.
std::optional<ProductInput> ProductInputOf(const graph::Graph& graph, graph::NodeId layer);

// The Hessian of each of these inputs over the samples. Of rows more than are of use (4 for each
// column, and no fewer than 4096), as many are left out, evenly spaced; numbers that are not finite
// count as zero. The result does not depend on `threads`, and may be read by several. Errors are
// those of running the graph; FailedPrecondition without samples.
absl::StatusOr<std::vector<quant::Hessian>> CollectHessians(const graph::Graph& graph,
                                                            std::span<const ProductInput> inputs,
                                                            Samples samples,
                                                            kernels::WeightCache& weights,
                                                            int threads);

}  // namespace octet::runtime
