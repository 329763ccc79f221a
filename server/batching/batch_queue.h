// Groups the waiting requests of one model into batches. Owns no thread, takes no lock and reads no
// clock: the caller passes `now`, so that tests need neither sleep nor luck.
//
// The policy is work-conserving: an idle stream takes its share of what waits at once instead of
// waiting for company. With N streams the share is ceil(waiting rows / N): at low load that is no
// batching at all, at high load batches grow until the arrival rate is met, and no stream swallows
// work that another one would have started a moment later.

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/batching/infer_task.h"
#include "server/batching/service_times.h"

namespace octet::server {

struct BatchingPolicy {
  int64_t max_batch_size = 32;                            // in rows, not requests
  absl::Duration max_queue_delay = absl::ZeroDuration();  // longest wait for company
  int64_t preferred_batch_size = 0;  // rows that end such a wait; 0: max_batch_size
  int64_t max_queue_size = 256;      // in requests
  int streams = 1;                   // runs of this model at the same time
};

using Batch = std::vector<std::unique_ptr<InferTask>>;

// Requests that leave the queue unanswered, each with the error to finish it with.
struct Dropped {
  std::unique_ptr<InferTask> task;
  absl::Status status;
};

// Why a batch left the queue when it did.
enum class DispatchReason : uint8_t {
  kStreamIdle,  // a stream was free and took its share
  kFull,        // limit() rows, or preferred_batch_size where batches wait for company
  kDelayOver,   // max_queue_delay had passed, or no deadline allowed more of it
  kDraining,    // nothing else is to come
};
inline constexpr int kDispatchReasons = 4;

struct Taken {
  Batch batch;  // to run now; empty if there is nothing to run yet
  DispatchReason reason = DispatchReason::kStreamIdle;  // of a batch
  std::vector<Dropped> dropped;                         // to finish, outside of any lock
  absl::Time call_again = absl::InfiniteFuture();       // when an empty batch is worth another call
};

int64_t RowCount(const Batch& batch);

// Not thread-safe.
class BatchQueue {
 public:
  // `compiled_sizes` are the model's batch sizes, ascending. Batches hold at most
  // limit() = min(max_batch_size, largest compiled size) rows.
  BatchQueue(const BatchingPolicy& policy, std::vector<int64_t> compiled_sizes);

  // Takes `task` if it returns OK, and leaves it alone otherwise. Requests that were found dead
  // while looking for a place are added to `dropped`.
  //   InvalidArgument    the request alone exceeds limit()
  //   Unavailable        closed because the model is draining
  //   DeadlineExceeded   the deadline has passed, or would before its turn comes
  //   ResourceExhausted  the queue is full
  absl::Status Enqueue(std::unique_ptr<InferTask>& task, absl::Time now,
                       std::vector<Dropped>& dropped);

  // The batch for a stream that is idle now. A request is never split, a batch never mixes shapes,
  // and requests of one shape and urgency leave in the order they came. Whoever takes a batch calls
  // RunFinished() when it has run.
  Taken TakeBatch(absl::Time now);

  // A batch of `rows` rows with the shapes of `member` took `elapsed` to load and execute.
  void RunFinished(const InferTask& member, int64_t rows, absl::Duration elapsed);

  // A warm run of these shapes, measured before the first request.
  void SeedServiceTime(const runtime::InputRows& rows, absl::Duration elapsed);

  // From here on Enqueue() refuses; what waits is still handed out, without delay.
  void Close() { closed_ = true; }
  bool closed() const { return closed_; }

  bool empty() const { return waiting_ == 0; }
  int64_t waiting() const { return waiting_; }            // requests
  int64_t waiting_rows() const { return waiting_rows_; }  // rows
  int64_t limit() const { return limit_; }

 private:
  // Ranks and dimensions of all inputs, without the batch dimension.
  using ShapeKey = absl::InlinedVector<int64_t, 12>;

  enum Level { kUrgent, kNormal, kLevels };

  struct Bucket {
    explicit Bucket(std::span<const int64_t> sizes) : times(sizes) {}
    std::array<std::deque<std::unique_ptr<InferTask>>, kLevels> tasks;
    int64_t rows = 0;
    ServiceTimes times;
    absl::Time used;
    bool empty() const { return tasks[kUrgent].empty() && tasks[kNormal].empty(); }
  };

  static ShapeKey KeyOf(const runtime::InputRows& rows);
  Bucket& BucketFor(const ShapeKey& key, absl::Time now);
  absl::Duration EstimatedWait() const;
  absl::Status Dead(const InferTask& task, Bucket& bucket, absl::Time now) const;
  void DropDead(absl::Time now, std::vector<Dropped>& dropped);
  void DropDeadHeads(Bucket& bucket, absl::Time now, std::vector<Dropped>& dropped);
  std::unique_ptr<InferTask> Pop(Bucket& bucket, Level level);
  Bucket* NextBucket();
  Level FirstLevel(const Bucket& bucket) const;
  int64_t Share(const Bucket& bucket, absl::Duration oldest_wait) const;
  int64_t FitCompiledSizes(const Bucket& bucket, int64_t share) const;
  absl::Time DelayUntil(const Bucket& bucket, int64_t share, absl::Time now) const;
  bool OthersAreBusy() const { return running_ >= policy_.streams - 1; }
  DispatchReason ReasonFor(const Bucket& bucket, int64_t share) const;
  void Gather(Bucket& bucket, int64_t share, absl::Time now, Taken& taken);

  const BatchingPolicy policy_;
  const std::vector<int64_t> sizes_;
  const int64_t limit_;
  const int64_t preferred_;

  std::map<ShapeKey, Bucket> buckets_;
  int64_t waiting_ = 0;
  int64_t waiting_urgent_ = 0;
  int64_t waiting_rows_ = 0;
  int running_ = 0;     // batches taken and not finished
  uint64_t turns_ = 0;  // batches handed out
  absl::Time next_search_ = absl::InfinitePast();
  bool closed_ = false;
};

}  // namespace octet::server
