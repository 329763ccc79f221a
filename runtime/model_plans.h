// The plans of one model: those compiled at load for the batch sizes, and others on demand.

#pragma once

#include <functional>
#include <list>
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

// Thread-safe.
class ModelPlans {
 public:
  // Makes the graph again, weights and all, after ReleaseWeights(): from the model file.
  using RebuildGraph = std::function<absl::StatusOr<graph::Graph>()>;

  // `weights` has packed weights that were made before; null: none yet.
  ModelPlans(graph::Graph graph, RebuildGraph rebuild,
             std::unique_ptr<kernels::WeightCache> weights = nullptr);

  // The plan for these input shapes; compiled now if it is new. Plans that were not pinned are
  // dropped again, least recently used first, when there are more than kMaxPlans.
  //   InvalidArgument, Unimplemented  the graph cannot take the shapes
  //   ResourceExhausted               the plan needs more than kMaxArenaBytes
  // With `max_runs`, for up to that many runs over such shapes, see PlanMemory().
  absl::StatusOr<std::shared_ptr<const Plan>> Find(std::span<const Shape> shapes,
                                                   int64_t max_runs = 1);
  // The same, and the plan stays.
  absl::StatusOr<std::shared_ptr<const Plan>> Pin(std::span<const Shape> shapes,
                                                  int64_t max_runs = 1);

  // Forgets the plans that were not pinned, and packed weights that no plan uses.
  void KeepPinned();

  // Forgets the graph's constants of more than a few KiB that kernels have read: from now on they
  // are only in the weight cache, packed. A plan that wants one in another form rebuilds the graph
  // for a moment.
  void ReleaseWeights();

  size_t served_weight_bytes() const { return weights_->bytes(); }

  static constexpr size_t kMaxPlans = 64;
  static constexpr size_t kMaxArenaBytes = size_t{8} << 30;

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    bool pinned = false;
    std::list<std::string>::iterator used;  // in recently_used_
  };

  absl::StatusOr<std::shared_ptr<const Plan>> Make(std::span<const Shape> shapes, int64_t max_runs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(compile_mutex_);
  void Touch(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Evict() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RebuildGraph rebuild_;
  const std::unique_ptr<kernels::WeightCache> weights_;
  // Compiling happens under this lock, so that two requests of a new shape compile it once.
  mutable Mutex compile_mutex_;
  graph::Graph graph_ ABSL_GUARDED_BY(compile_mutex_);
  mutable Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> plans_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> recently_used_ ABSL_GUARDED_BY(mutex_);  // most recent first
};

}  // namespace octet::runtime
