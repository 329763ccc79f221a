// Samples for calibration, taken from requests as they are served: in memory, never on disk.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "runtime/calibration_data.h"
#include "runtime/compiled_model.h"

namespace octet::server {

struct RequestSampling {
  size_t samples = 128;
  int every = 1;                         // every how many requests one is kept
  size_t most_bytes = size_t{64} << 20;  // of all samples; fewer are kept where they are larger
};

// Thread-safe. A row of a request is a sample; rows that are all zero, not finite, or like one
// before are none.
class RequestSamples {
 public:
  // `inputs` of the model whose requests these are. Fewer than this many are of no use.
  static constexpr size_t kFewest = 16;
  RequestSamples(const RequestSampling& sampling, std::vector<runtime::TensorSpec> inputs,
                 bool batchable);

  // Called on streams' threads when there are enough. Returns false to be called again later.
  void OnEnough(std::function<bool()> on_enough) { on_enough_ = std::move(on_enough); }

  // Whether requests are looked at; one load of an atomic.
  bool wants() const { return wants_.load(std::memory_order_relaxed); }

  // A request that has been run; copies what is kept of it.
  void Offer(const runtime::InputRows& request) ABSL_LOCKS_EXCLUDED(mutex_);

  // Nobody has come for the samples: OnEnough()'s function is called again.
  void Resume() ABSL_LOCKS_EXCLUDED(mutex_);

  // Hands over the samples, in the engine's types; none are left here.
  runtime::CalibrationData Take() ABSL_LOCKS_EXCLUDED(mutex_);

  // No more samples: what has become of it, for people, and of how many.
  void Finish(std::string state, std::optional<size_t> samples = {}) ABSL_LOCKS_EXCLUDED(mutex_);

  runtime::LearningStatistics statistics() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool KeepRow(const runtime::InputRows& request, int64_t row)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Enough() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RequestSampling sampling_;
  const std::vector<runtime::TensorSpec> inputs_;
  const bool batchable_;
  std::function<bool()> on_enough_;
  std::atomic<bool> wants_ = true;
  std::atomic<uint64_t> offered_ = 0;

  mutable Mutex mutex_;
  std::vector<std::vector<Tensor>> samples_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<size_t> seen_ ABSL_GUARDED_BY(mutex_);  // hashes of the samples
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t kept_ ABSL_GUARDED_BY(mutex_) = 0;  // samples ever
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  std::string state_ ABSL_GUARDED_BY(mutex_);  // empty: observing
};

}  // namespace octet::server
