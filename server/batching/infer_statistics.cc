#include "server/batching/infer_statistics.h"

#include <algorithm>

namespace octet::server {
namespace {

// The wall clock may be set back while a request is on its way.
absl::Duration Between(absl::Time from, absl::Time to) {
  return std::max(to - from, absl::ZeroDuration());
}

}  // namespace

void InferStatistics::Add(const InferStatistics& other) {
  last_inference = std::max(last_inference, other.last_inference);
  rows += other.rows;
  executions += other.executions;
  succeeded += other.succeeded;
  success += other.success;
  queue += other.queue;
  input += other.input;
  infer += other.infer;
  output += other.output;
  failed += other.failed;
  fail += other.fail;
  for (const auto& [size, theirs] : other.batch_sizes) {
    BatchSizeStatistics& ours = batch_sizes[size];
    ours.executions += theirs.executions;
    ours.input += theirs.input;
    ours.infer += theirs.infer;
    ours.output += theirs.output;
  }
}

void StreamStatistics::CountRun(const Batch& batch, const InferTimes& times) {
  const int64_t rows = RowCount(batch);
  const absl::Duration input = Between(times.taken, times.loaded);
  const absl::Duration infer = Between(times.loaded, times.executed);
  const absl::Duration output = Between(times.executed, times.stored);

  const MutexLock lock(mutex_);
  totals_.last_inference = times.executed;
  totals_.rows += static_cast<uint64_t>(rows);
  ++totals_.executions;
  for (const auto& task : batch) {
    ++totals_.succeeded;
    totals_.success += Between(task->queued, times.stored);
    totals_.queue += Between(task->queued, times.taken);
    totals_.input += input;
    totals_.infer += infer;
    totals_.output += output;
  }
  BatchSizeStatistics& size = totals_.batch_sizes[rows];
  ++size.executions;
  size.input += input;
  size.infer += infer;
  size.output += output;
}

void StreamStatistics::CountFailure(absl::Duration waited) {
  const MutexLock lock(mutex_);
  ++totals_.failed;
  totals_.fail += std::max(waited, absl::ZeroDuration());
}

InferStatistics StreamStatistics::Read() const {
  const MutexLock lock(mutex_);
  return totals_;
}

}  // namespace octet::server
