// What a model has done so far, in the terms of the protocol's ModelStatistics.
//
// Every stream counts for itself and is summed when somebody asks: a run costs one uncontended
// lock, whatever the number of streams.

#pragma once

#include <cstdint>
#include <map>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/batching/batch_queue.h"

namespace octet::server {

// Runs of one batch size, and the time spent in each phase of them.
struct BatchSizeStatistics {
  uint64_t executions = 0;
  absl::Duration input, infer, output;
};

// Every request is charged the whole time of the batch that carried it. The four phases share one
// count, `succeeded`, so that they can never disagree.
struct InferStatistics {
  absl::Time last_inference = absl::UnixEpoch();
  uint64_t rows = 0;        // batch items inferred
  uint64_t executions = 0;  // runs of the model
  uint64_t succeeded = 0;   // requests answered with outputs
  absl::Duration success, queue, input, infer, output;
  uint64_t failed = 0;  // requests accepted for inference and answered with an error
  absl::Duration fail;
  std::map<int64_t, BatchSizeStatistics> batch_sizes;  // by rows, without padding

  void Add(const InferStatistics& other);
};

// Thread-safe. On a cache line of its own: neighbours belong to other streams.
class alignas(64) StreamStatistics {
 public:
  // One run of all of `batch`.
  void CountRun(const Batch& batch, const InferTimes& times) ABSL_LOCKS_EXCLUDED(mutex_);

  // A request that was answered with an error after `waited` in the queue.
  void CountFailure(absl::Duration waited) ABSL_LOCKS_EXCLUDED(mutex_);

  InferStatistics Read() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  InferStatistics totals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::server
