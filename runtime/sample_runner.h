// Running samples through a graph on several threads, and looking at values inside as they are
// made.

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "runtime/plan.h"

namespace octet::runtime {

using Samples = std::span<const std::vector<Tensor>>;

// One plan per set of shapes, and as many arenas for it as threads run it at a time. Outputs before
// `first_early` are computed, and shown to nobody. Thread-safe; `graph` and `weights` outlive it.
class SampleRunner {
 public:
  SampleRunner(const graph::Graph& graph, kernels::WeightCache& weights, size_t first_early)
      : graph_(graph), weights_(weights), first_early_(first_early) {}

  // Runs a sample and calls visit(index of the output, value) for every early one, on this thread.
  absl::Status Visit(std::span<const Tensor> sample, const OutputVisitor& visit);

 private:
  struct SharedPlan {
    std::shared_ptr<const Plan> plan;
    std::vector<std::unique_ptr<PlanRunner>> idle;
  };

  absl::StatusOr<std::unique_ptr<PlanRunner>> Take(const std::string& key,
                                                   std::span<const Tensor> sample);

  const graph::Graph& graph_;
  kernels::WeightCache& weights_;
  const size_t first_early_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, SharedPlan> plans_ ABSL_GUARDED_BY(mutex_);
};

// Values of a graph. Thread-safe; `weights` outlives it.
class WatchedValues {
 public:
  // Sees the value of this index.
  using Visitor = std::function<absl::Status(size_t, const ConstTensorView&)>;

  WatchedValues(const graph::Graph& graph, std::span<const graph::ValueId> values,
                kernels::WeightCache& weights);

  // Runs a sample, and shows each of the values as soon as it is there; it is gone afterwards.
  absl::Status Visit(std::span<const Tensor> sample, const Visitor& visit);

  // All samples. For each value visit(sample, value's index, value) sees one sample after the
  // other, but it may see several values at a time. before(sample), if given, precedes the sample's
  // run on the same thread. The first sample that fails ends all, with its error.
  absl::Status VisitAll(
      Samples samples, int threads,
      const std::function<absl::Status(size_t, size_t, const ConstTensorView&)>& visit,
      const std::function<absl::Status(size_t)>& before = nullptr);

 private:
  const graph::Graph observed_;
  const size_t first_, count_;
  SampleRunner runner_;
};

}  // namespace octet::runtime
