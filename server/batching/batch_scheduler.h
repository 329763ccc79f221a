// The batcher of one model: a queue, and one thread per stream that runs what the queue gives it.

#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "runtime/compiled_model.h"
#include "server/batching/batch_queue.h"
#include "server/batching/batch_worker.h"
#include "server/batching/infer_statistics.h"
#include "server/batching/infer_task.h"

namespace octet::server {

struct SchedulerOptions {
  BatchingPolicy policy;

  // Called on each stream's thread before its context is made: pinning, thread counts. May be
  // empty.
  std::function<void(int stream)> on_stream_start;

  // Called on a stream's thread after each run, before the callers are told. May be empty.
  std::function<void(const BatchReport&)> on_batch;

  // Called on a stream's thread before each run. May be empty.
  std::function<void(DispatchReason)> on_dispatch;

  // Run every compiled batch size with zeros before the first request.
  bool warm_up = true;
};

// Thread-safe.
class BatchScheduler {
 public:
  // Returns when every stream has its context and is warm. Fails with what the model says when a
  // context cannot be made or a warm-up run fails.
  static absl::StatusOr<std::unique_ptr<BatchScheduler>> Start(
      std::shared_ptr<const runtime::CompiledModel> model, SchedulerOptions options);

  // Drains.
  ~BatchScheduler();

  BatchScheduler(const BatchScheduler&) = delete;
  BatchScheduler& operator=(const BatchScheduler&) = delete;

  // Takes `task` if it returns OK, and leaves it alone otherwise; errors are BatchQueue's. May call
  // `done` of other, dead requests.
  absl::Status Enqueue(std::unique_ptr<InferTask>& task) ABSL_LOCKS_EXCLUDED(mutex_);

  // No new requests from here on; what waits is still run. Does not wait.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

  // After Close(): true when every request has been answered; waits until `deadline` for that.
  bool AwaitDrained(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Closes, and returns when every request has been answered. Must not be called by a `done`.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t waiting() const ABSL_LOCKS_EXCLUDED(mutex_);  // requests in the queue
  int64_t max_batch_size() const { return max_batch_size_; }
  const BatchingPolicy& policy() const { return options_.policy; }
  InferStatistics statistics() const;

 private:
  BatchScheduler(std::shared_ptr<const runtime::CompiledModel> model, SchedulerOptions options);

  void RunStream(int stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void ServeStream(int stream) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<BatchWorker>> Prepare(int stream) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WarmUp(BatchWorker& worker, int stream) ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForWork(Taken& taken, absl::Time& now) ABSL_LOCKS_EXCLUDED(mutex_);
  void FinishDropped(std::vector<Dropped>& dropped, StreamStatistics& statistics);

  const std::shared_ptr<const runtime::CompiledModel> model_;
  const SchedulerOptions options_;

  // One per stream, and a last one for requests that were refused at the door.
  std::vector<std::unique_ptr<StreamStatistics>> statistics_;

  mutable Mutex mutex_;
  CondVar work_;     // a stream may find something to do
  CondVar started_;  // a stream is ready, or has failed to become so
  CondVar ended_;    // a stream has answered its last request
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  int idle_ ABSL_GUARDED_BY(mutex_) = 0;
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;  // streams that have not ended
  absl::Status start_status_ ABSL_GUARDED_BY(mutex_);

  const int64_t max_batch_size_;
  Mutex join_mutex_;  // several threads may drain
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace octet::server
