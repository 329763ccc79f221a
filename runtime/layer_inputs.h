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

// Hessians of inputs, from values as VisitValues() shows them. Of rows more than are of use (4 for
// each column, and no fewer than 64 for each or 4096), as many are left out, evenly spaced; numbers
// that are not finite count as zero. `graph` outlives it.
class HessianCollector {
 public:
  // `samples`: how many will be shown.
  HessianCollector(const graph::Graph& graph, std::vector<RowInput> inputs, size_t samples);

  // What is to be shown.
  const std::vector<graph::ValueId>& values() const { return values_; }
  // A sample of values()[index]. Different values may be added at a time. InvalidArgument if it
  // cannot be the layer's input.
  absl::Status Add(size_t index, const ConstTensorView& value);
  // When all samples were added: by input, for any number of threads to read.
  absl::StatusOr<std::vector<quant::Hessian>> Take(int threads) &&;
  const std::vector<RowInput>& inputs() const { return inputs_; }

 private:
  const graph::Graph& graph_;
  std::vector<RowInput> inputs_;
  int64_t samples_;
  std::vector<graph::ValueId> values_;
  std::vector<std::vector<size_t>> inputs_of_;  // by value; groups of a convolution read the same
  std::vector<quant::Hessian> hessians_;
};

// The Hessian of each of these inputs over the samples. The result does not depend on `threads`.
// Errors are those of running the graph; FailedPrecondition without samples.
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
