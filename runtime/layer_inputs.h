// The inputs of layers as rows that meet the weights: what error feedback (quant/gptq.h) needs to
// know of a layer.

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
struct RowInput {
  graph::ValueId value{};
  int64_t columns = 0;
  // A convolution that reads an image so: a row is what its window covers of the channels of
  // `group`, in the order of its weights, zero on padding. None: the last dimension is a row.
  std::optional<graph::NodeId> convolution;
  int64_t group = 0;
  std::vector<int64_t> window;  // convolutions for which these are equal take the same rows

  bool operator==(const RowInput& other) const { return Key() == other.Key(); }
  bool operator<(const RowInput& other) const { return Key() < other.Key(); }

 private:
  // Groups of one convolution are neighbours.
  std::tuple<graph::ValueId, int64_t, bool, const std::vector<int64_t>&, int64_t> Key() const {
    return {value, columns, convolution.has_value(), window, group};
  }
};

// One for each group of a convolution, one for MatMul and Gemm with a constant matrix on the right;
// none for other layers.
std::vector<RowInput> RowInputsOf(const graph::Graph& graph, graph::NodeId layer);

// Of layers that are matrix products: MatMul, Gemm, and 1x1 convolutions without groups and
// padding. Nothing for others.
std::optional<RowInput> ProductInputOf(const graph::Graph& graph, graph::NodeId layer);

// The Hessian of each of these inputs over the samples. Of rows more than are of use (4 for each
// column, and no fewer than 64 for each or 4096), as many are left out, evenly spaced; numbers that
// are not finite count as zero. The result does not depend on `threads`, and may be read by
// several. Errors are those of running the graph; FailedPrecondition without samples.
absl::StatusOr<std::vector<quant::Hessian>> CollectHessians(const graph::Graph& graph,
                                                            std::span<const RowInput> inputs,
                                                            Samples samples,
                                                            kernels::WeightCache& weights,
                                                            int threads);

// Of Hessians that exist at a time; layers whose Hessians take more are looked at in groups.
inline constexpr int64_t kMostHessianBytes = int64_t{256} << 20;

// What they take while they are collected.
int64_t HessianBytes(std::span<const RowInput> inputs);

// The inputs of both, each once, sorted.
std::vector<RowInput> Union(std::vector<RowInput> a, const std::vector<RowInput>& b);

}  // namespace octet::runtime
