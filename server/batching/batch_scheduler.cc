#include "server/batching/batch_scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace octet::server {
namespace {

// A parked stream looks around this often, so that no lost wake-up can last.
constexpr absl::Duration kLongestPark = absl::Seconds(1);

SchedulerOptions Normalized(SchedulerOptions options, const runtime::CompiledModel& model) {
  BatchingPolicy& policy = options.policy;
  policy.streams = std::max(1, policy.streams);
  policy.max_queue_size = std::max<int64_t>(1, policy.max_queue_size);
  // Requests of a model without a batch dimension run one at a time.
  if (!model.batchable()) policy.max_batch_size = 1;
  return options;
}

}  // namespace

BatchScheduler::BatchScheduler(std::shared_ptr<const runtime::CompiledModel> model,
                               SchedulerOptions options)
    : model_(std::move(model)),
      options_(Normalized(std::move(options), *model_)),
      queue_(options_.policy, model_->batch_sizes()),
      max_batch_size_(std::min(std::max<int64_t>(1, options_.policy.max_batch_size),
                               model_->batch_sizes().back())) {
  for (int i = 0; i <= options_.policy.streams; ++i) {
    statistics_.push_back(std::make_unique<StreamStatistics>());
  }
}

absl::StatusOr<std::unique_ptr<BatchScheduler>> BatchScheduler::Start(
    std::shared_ptr<const runtime::CompiledModel> model, SchedulerOptions options) {
  if (model->batch_sizes().empty() || model->inputs().empty()) {
    return absl::InvalidArgumentError("the model has no inputs or no compiled batch size");
  }
  std::unique_ptr<BatchScheduler> scheduler(
      new BatchScheduler(std::move(model), std::move(options)));
  const int streams = scheduler->options_.policy.streams;
  {
    const MutexLock lock(scheduler->mutex_);
    scheduler->starting_ = streams;
    scheduler->running_ = streams;
  }
  {
    const MutexLock lock(scheduler->join_mutex_);
    for (int stream = 0; stream < streams; ++stream) {
      scheduler->threads_.emplace_back(&BatchScheduler::RunStream, scheduler.get(), stream);
    }
  }
  {
    const MutexLock lock(scheduler->mutex_);
    while (scheduler->starting_ > 0) scheduler->started_.Wait(scheduler->mutex_);
    OCTET_RETURN_IF_ERROR(scheduler->start_status_);
  }
  return scheduler;
}

BatchScheduler::~BatchScheduler() { Drain(); }

absl::Status BatchScheduler::Enqueue(std::unique_ptr<InferTask>& task) {
  std::vector<Dropped> dropped;
  absl::Status status;
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    status = queue_.Enqueue(task, absl::Now(), dropped);
    wake = status.ok() && idle_ > 0;
  }
  if (wake) work_.NotifyOne();
  // What a closed door refuses was never accepted: it may be queued in a model that replaces this.
  const bool refused = !status.ok() && !absl::IsUnavailable(status);
  if (refused) statistics_.back()->CountFailure(absl::ZeroDuration());
  if (!dropped.empty()) FinishDropped(dropped, *statistics_.back());
  return status;
}

void BatchScheduler::Close() {
  {
    const MutexLock lock(mutex_);
    queue_.Close();
  }
  work_.NotifyAll();
}

bool BatchScheduler::AwaitDrained(absl::Time deadline) {
  const MutexLock lock(mutex_);
  while (running_ > 0) {
    if (absl::Now() >= deadline) return false;
    ended_.WaitUntil(mutex_, deadline);
  }
  return true;
}

void BatchScheduler::Drain() {
  Close();
  const MutexLock lock(join_mutex_);
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

int64_t BatchScheduler::waiting() const {
  const MutexLock lock(mutex_);
  return queue_.waiting();
}

InferStatistics BatchScheduler::statistics() const {
  InferStatistics sum;
  for (const auto& stream : statistics_) sum.Add(stream->Read());
  return sum;
}

void BatchScheduler::FinishDropped(std::vector<Dropped>& dropped, StreamStatistics& statistics) {
  const absl::Time now = absl::Now();
  for (Dropped& entry : dropped) {
    statistics.CountFailure(now - entry.task->queued);
    std::move(entry.task->done)(std::move(entry.status));
  }
}

absl::Status BatchScheduler::WarmUp(BatchWorker& worker, int stream) {
  // Largest first, so that memory grows once.
  std::vector<std::byte> zeros;
  const std::vector<int64_t>& sizes = model_->batch_sizes();
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    const std::optional<runtime::InputRows> rows = ZeroRows(*model_, *size, zeros);
    if (!rows.has_value()) return absl::OkStatus();
    const absl::StatusOr<absl::Duration> elapsed = worker.WarmUp(*rows);
    if (!elapsed.ok()) {
      return Annotate(elapsed.status(), absl::StrCat("warm-up with batch size ", *size));
    }
    const MutexLock lock(mutex_);
    if (stream == 0) queue_.SeedServiceTime(*rows, *elapsed);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<BatchWorker>> BatchScheduler::Prepare(int stream) {
  if (options_.on_stream_start) options_.on_stream_start(stream);
  OCTET_ASSIGN_OR_RETURN(auto context, model_->NewContext());
  auto worker = std::make_unique<BatchWorker>(*model_, std::move(context), *statistics_[stream],
                                              options_.on_batch);
  if (options_.warm_up) OCTET_RETURN_IF_ERROR(WarmUp(*worker, stream));
  return worker;
}

// Parks until there is a batch or something to drop; false when the queue is closed and empty.
bool BatchScheduler::WaitForWork(Taken& taken, absl::Time& now) {
  bool wake_another = false;
  {
    const MutexLock lock(mutex_);
    while (true) {
      now = absl::Now();
      taken = queue_.TakeBatch(now);
      if (!taken.batch.empty() || !taken.dropped.empty()) break;
      if (queue_.closed() && queue_.empty()) return false;
      ++idle_;
      work_.WaitUntil(mutex_, std::min(taken.call_again, now + kLongestPark));
      --idle_;
    }
    wake_another = idle_ > 0 && !queue_.empty();
  }
  if (wake_another) work_.NotifyOne();
  return true;
}

void BatchScheduler::RunStream(int stream) {
  ServeStream(stream);
  {
    const MutexLock lock(mutex_);
    --running_;
  }
  ended_.NotifyAll();
}

void BatchScheduler::ServeStream(int stream) {
  absl::StatusOr<std::unique_ptr<BatchWorker>> worker = Prepare(stream);
  {
    const MutexLock lock(mutex_);
    --starting_;
    if (start_status_.ok()) start_status_ = worker.status();
  }
  started_.NotifyAll();
  if (!worker.ok()) return;

  Taken taken;
  absl::Time now;
  while (WaitForWork(taken, now)) {
    if (!taken.dropped.empty()) FinishDropped(taken.dropped, *statistics_[stream]);
    if (taken.batch.empty()) continue;
    if (options_.on_dispatch) options_.on_dispatch(taken.reason);
    const Batch& batch = taken.batch;
    const int64_t rows = RowCount(batch);
    const InferTask& member = *batch.front();
    (*worker)->Run(std::move(taken.batch), now, [&](absl::Duration elapsed) {
      const MutexLock lock(mutex_);
      queue_.RunFinished(member, rows, elapsed);
    });
  }
}

}  // namespace octet::server
