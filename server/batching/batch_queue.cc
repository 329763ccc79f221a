#include "server/batching/batch_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::server {
namespace {

// Shapes whose times are remembered while none of their requests waits.
constexpr size_t kMaxIdleShapes = 64;

// Every so many batches the others go before the urgent, so that they never starve.
constexpr uint64_t kTurnsPerNormal = 8;

// A full queue is searched for dead requests at most this often.
constexpr absl::Duration kSearchInterval = absl::Milliseconds(1);

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t RowCount(const Batch& batch) {
  int64_t rows = 0;
  for (const auto& task : batch) rows += task->input.rows;
  return rows;
}

BatchQueue::BatchQueue(const BatchingPolicy& policy, std::vector<int64_t> compiled_sizes)
    : policy_(policy),
      sizes_(std::move(compiled_sizes)),
      limit_(std::max<int64_t>(1, std::min(policy.max_batch_size, sizes_.back()))),
      preferred_(policy.preferred_batch_size > 0 ? std::min(policy.preferred_batch_size, limit_)
                                                 : limit_) {}

BatchQueue::ShapeKey BatchQueue::KeyOf(const runtime::InputRows& rows) {
  ShapeKey key;
  for (const runtime::InputTensor& input : rows.inputs) {
    key.push_back(static_cast<int64_t>(input.shape.size()));
    if (input.shape.empty()) continue;
    key.insert(key.end(), input.shape.begin() + 1, input.shape.end());
  }
  return key;
}

BatchQueue::Bucket& BatchQueue::BucketFor(const ShapeKey& key, absl::Time now) {
  const auto [entry, inserted] = buckets_.try_emplace(key, sizes_);
  entry->second.used = now;
  if (inserted && buckets_.size() > kMaxIdleShapes) {
    auto oldest = buckets_.end();
    for (auto it = buckets_.begin(); it != buckets_.end(); ++it) {
      if (it == entry || !it->second.empty()) continue;
      if (oldest == buckets_.end() || it->second.used < oldest->second.used) oldest = it;
    }
    if (oldest != buckets_.end()) buckets_.erase(oldest);
  }
  return entry->second;
}

// A lower bound: what waits, at the best speed, spread over all streams. What runs already is left
// out, since nobody knows how much of it is left.
absl::Duration BatchQueue::EstimatedWait() const {
  absl::Duration work = absl::ZeroDuration();
  if (waiting_ == 0) return work;
  for (const auto& [key, bucket] : buckets_) {
    if (bucket.rows > 0) work += bucket.times.BestPerRow() * bucket.rows;
  }
  return work / std::max(1, policy_.streams);
}

absl::Status BatchQueue::Enqueue(std::unique_ptr<InferTask>& task, absl::Time now,
                                 std::vector<Dropped>& dropped) {
  const int64_t rows = task->input.rows;
  if (rows < 1 || rows > limit_) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch size must be from 1 to ", limit_, ", not ", rows));
  }
  if (closed_) return absl::UnavailableError("is draining and takes no new requests");
  const absl::Time latest_start = std::min(task->deadline, task->queue_deadline);
  if (latest_start <= now) {
    return absl::DeadlineExceededError("the request's deadline passed before it was queued");
  }
  if (latest_start != absl::InfiniteFuture()) {
    const absl::Duration wait = EstimatedWait();
    if (wait > latest_start - now) {
      return absl::DeadlineExceededError(
          absl::StrCat("the queue is about ", absl::FormatDuration(wait),
                       " long, and the request allows ", absl::FormatDuration(latest_start - now)));
    }
  }
  if (waiting_ >= policy_.max_queue_size) DropDead(now, dropped);
  if (waiting_ >= policy_.max_queue_size) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", waiting_, " requests wait (max_queue_size)"));
  }
  Bucket& bucket = BucketFor(KeyOf(task->input), now);
  task->queued = now;
  ++waiting_;
  waiting_urgent_ += task->urgent;
  waiting_rows_ += rows;
  bucket.rows += rows;
  bucket.tasks[task->urgent ? kUrgent : kNormal].push_back(std::move(task));
  return absl::OkStatus();
}

// Why `task` must not run any more; OK if it must.
absl::Status BatchQueue::Dead(const InferTask& task, Bucket& bucket, absl::Time now) const {
  if (task.IsCancelled()) return absl::CancelledError("the caller cancelled the request");
  if (task.deadline <= now) {
    return absl::DeadlineExceededError("the request's deadline passed while it waited");
  }
  if (task.queue_deadline <= now) {
    return absl::DeadlineExceededError(
        "the request's timeout parameter passed while it waited in the queue");
  }
  const absl::Duration run = bucket.times.At(task.input.rows);
  if (task.deadline - now < run) {
    bucket.times.Doubt(task.input.rows);
    return absl::DeadlineExceededError(
        absl::StrCat("a run takes about ", absl::FormatDuration(run), " and ",
                     absl::FormatDuration(task.deadline - now), " are left of the deadline"));
  }
  return absl::OkStatus();
}

// Makes room in a full queue.
void BatchQueue::DropDead(absl::Time now, std::vector<Dropped>& dropped) {
  if (now < next_search_) return;
  next_search_ = now + kSearchInterval;
  for (auto& [key, bucket] : buckets_) {
    for (const Level level : {kUrgent, kNormal}) {
      auto& tasks = bucket.tasks[level];
      const size_t before = tasks.size();
      for (size_t i = 0; i < before; ++i) {
        std::unique_ptr<InferTask> task = Pop(bucket, level);
        absl::Status dead = Dead(*task, bucket, now);
        if (!dead.ok()) {
          dropped.push_back({std::move(task), std::move(dead)});
          continue;
        }
        ++waiting_;
        waiting_urgent_ += task->urgent;
        waiting_rows_ += task->input.rows;
        bucket.rows += task->input.rows;
        tasks.push_back(std::move(task));
      }
    }
  }
}

std::unique_ptr<InferTask> BatchQueue::Pop(Bucket& bucket, Level level) {
  std::unique_ptr<InferTask> task = std::move(bucket.tasks[level].front());
  bucket.tasks[level].pop_front();
  --waiting_;
  waiting_urgent_ -= task->urgent;
  waiting_rows_ -= task->input.rows;
  bucket.rows -= task->input.rows;
  return task;
}

void BatchQueue::DropDeadHeads(Bucket& bucket, absl::Time now, std::vector<Dropped>& dropped) {
  for (const Level level : {kUrgent, kNormal}) {
    while (!bucket.tasks[level].empty()) {
      absl::Status dead = Dead(*bucket.tasks[level].front(), bucket, now);
      if (dead.ok()) break;
      dropped.push_back({Pop(bucket, level), std::move(dead)});
    }
  }
}

BatchQueue::Level BatchQueue::FirstLevel(const Bucket& bucket) const {
  const bool normal_turn = turns_ % kTurnsPerNormal == kTurnsPerNormal - 1;
  if (bucket.tasks[kNormal].empty()) return kUrgent;
  if (bucket.tasks[kUrgent].empty()) return kNormal;
  return normal_turn ? kNormal : kUrgent;
}

// The shape whose turn it is: that of the oldest request of the most urgent kind.
BatchQueue::Bucket* BatchQueue::NextBucket() {
  const bool normal_turn =
      turns_ % kTurnsPerNormal == kTurnsPerNormal - 1 && waiting_ > waiting_urgent_;
  const Level level = waiting_urgent_ > 0 && !normal_turn ? kUrgent : kNormal;
  Bucket* next = nullptr;
  for (auto& [key, bucket] : buckets_) {
    if (bucket.tasks[level].empty()) continue;
    if (next == nullptr ||
        bucket.tasks[level].front()->queued < next->tasks[level].front()->queued) {
      next = &bucket;
    }
  }
  return next;
}

int64_t BatchQueue::Share(const Bucket& bucket, absl::Duration oldest_wait) const {
  int64_t share = CeilDivide(waiting_rows_, std::max(1, policy_.streams));
  share = std::clamp<int64_t>(share, 1, limit_);
  // While the queue is short, batches past the knee cost latency and gain nothing.
  if (oldest_wait < bucket.times.At(1)) share = std::min(share, bucket.times.Knee());
  return FitCompiledSizes(bucket, std::min(share, bucket.rows));
}

// A share between two compiled sizes is padded. Rows that wait are better than padding; and two
// runs can be cheaper than one that is mostly padding.
int64_t BatchQueue::FitCompiledSizes(const Bucket& bucket, int64_t share) const {
  const auto above = std::lower_bound(sizes_.begin(), sizes_.end(), share);
  if (above == sizes_.end() || *above == share) return share;
  if (*above <= std::min(bucket.rows, limit_)) return *above;
  if (above == sizes_.begin()) return share;
  const int64_t below = *std::prev(above);
  const absl::Duration padded = bucket.times.At(share);
  const absl::Duration first = bucket.times.At(below);
  const absl::Duration rest = bucket.times.At(share - below);
  const bool known = first > absl::ZeroDuration() && rest > absl::ZeroDuration();
  return known && padded > first + rest ? below : share;
}

// Until when to wait for company; `now` means not at all. Nobody waits so long that a deadline is
// missed for it.
absl::Time BatchQueue::DelayUntil(const Bucket& bucket, int64_t share, absl::Time now) const {
  if (policy_.max_queue_delay <= absl::ZeroDuration() || closed_ || !OthersAreBusy() ||
      bucket.rows >= preferred_) {
    return now;
  }
  absl::Time until = absl::InfiniteFuture();
  for (const auto& tasks : bucket.tasks) {
    if (!tasks.empty()) until = std::min(until, tasks.front()->queued + policy_.max_queue_delay);
  }
  const absl::Time latest_end = until + bucket.times.At(share);
  for (const auto& tasks : bucket.tasks) {
    for (const auto& task : tasks) {
      if (task->deadline <= latest_end || task->queue_deadline <= until) return now;
    }
  }
  return std::max(until, now);
}

// Of a batch that leaves now. Looked at before it is gathered.
DispatchReason BatchQueue::ReasonFor(const Bucket& bucket, int64_t share) const {
  if (closed_) return DispatchReason::kDraining;
  const bool company = policy_.max_queue_delay > absl::ZeroDuration();
  if (share >= limit_ || (company && bucket.rows >= preferred_)) return DispatchReason::kFull;
  return company && OthersAreBusy() ? DispatchReason::kDelayOver : DispatchReason::kStreamIdle;
}

// Whole requests in order until `share` rows are reached. One that is larger than the share goes
// alone: nobody small waits for it.
void BatchQueue::Gather(Bucket& bucket, int64_t share, absl::Time now, Taken& taken) {
  const Level first = FirstLevel(bucket);
  int64_t rows = 0;
  for (const Level level : {first, first == kUrgent ? kNormal : kUrgent}) {
    auto& tasks = bucket.tasks[level];
    while (!tasks.empty() && rows < share) {
      const int64_t next = tasks.front()->input.rows;
      if (rows > 0 && (rows + next > limit_ || next > share)) break;
      absl::Status dead = Dead(*tasks.front(), bucket, now);
      std::unique_ptr<InferTask> task = Pop(bucket, level);
      if (!dead.ok()) {
        taken.dropped.push_back({std::move(task), std::move(dead)});
        continue;
      }
      rows += next;
      taken.batch.push_back(std::move(task));
    }
  }
}

Taken BatchQueue::TakeBatch(absl::Time now) {
  Taken taken;
  while (Bucket* const bucket = NextBucket()) {
    DropDeadHeads(*bucket, now, taken.dropped);
    if (bucket->empty()) continue;
    const absl::Time oldest = bucket->tasks[FirstLevel(*bucket)].front()->queued;
    const int64_t share = Share(*bucket, now - oldest);
    const absl::Time delay_until = DelayUntil(*bucket, share, now);
    if (delay_until > now) {
      taken.call_again = delay_until;
      return taken;
    }
    taken.reason = ReasonFor(*bucket, share);
    Gather(*bucket, share, now, taken);
    // Everyone may have left since the heads were looked at.
    if (taken.batch.empty()) continue;
    ++turns_;
    ++running_;
    return taken;
  }
  return taken;
}

void BatchQueue::RunFinished(const InferTask& member, int64_t rows, absl::Duration elapsed) {
  --running_;
  const auto found = buckets_.find(KeyOf(member.input));
  if (found != buckets_.end()) found->second.times.Record(rows, elapsed);
}

void BatchQueue::SeedServiceTime(const runtime::InputRows& rows, absl::Duration elapsed) {
  BucketFor(KeyOf(rows), absl::InfinitePast()).times.Seed(rows.rows, elapsed);
}

}  // namespace octet::server
