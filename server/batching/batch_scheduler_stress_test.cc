// Many callers at once, who leave, lose patience, and send rows of very different size. Every
// answer must hold the caller's own rows, and every request must be answered exactly once.

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/batching/batch_scheduler.h"
#include "tests/support/fake_model.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;

constexpr int kCallers = 12;
constexpr int kRequestsPerCaller = 400;

struct Tally {
  std::atomic<int> sent = 0;
  std::atomic<int> correct = 0;
  std::atomic<int> refused = 0;  // at the door
  std::atomic<int> dropped = 0;  // in the queue
  std::atomic<int> wrong = 0;
};

class Caller {
 public:
  Caller(BatchScheduler& scheduler, Tally& tally, uint32_t seed)
      : scheduler_(scheduler), tally_(tally), random_(seed) {}

  void Run() {
    for (int i = 0; i < kRequestsPerCaller; ++i) {
      // Who is refused comes again, as clients do, when another of its requests is answered.
      while (!Send()) std::this_thread::yield();
    }
    const MutexLock lock(mutex_);
    while (open_ > 0) answered_.Wait(mutex_);
  }

 private:
  // Lives until its answer has come.
  struct Call {
    std::vector<float> values;
    std::atomic<bool> cancelled = false;
    int answers = 0;
  };

  // False if the queue was full.
  bool Send() {
    ++tally_.sent;
    auto call = std::make_shared<Call>();
    const int64_t rows = 1 + static_cast<int64_t>(random_() % 4);
    const float scale = random_() % 10 == 0 ? 100.0f : 1.0f;
    for (int64_t i = 0; i < rows * 4; ++i) {
      call->values.push_back(scale * static_cast<float>(random_() % 1000));
    }
    auto task = std::make_unique<InferTask>();
    task->input.rows = rows;
    task->input.inputs.emplace_back().shape = {rows, 4};
    task->input.inputs[0].pieces.push_back(std::as_bytes(std::span(call->values)));
    task->outputs = {0};
    task->urgent = random_() % 5 == 0;
    task->cancelled = &call->cancelled;
    if (random_() % 4 == 0) {
      task->deadline = absl::Now() + absl::Microseconds(static_cast<int64_t>(random_() % 2000));
    }
    task->done = [this, call](const absl::StatusOr<InferResult>& result) { Check(*call, result); };
    {
      const MutexLock lock(mutex_);
      ++open_;
    }
    const absl::Status status = scheduler_.Enqueue(task);
    if (!status.ok()) {
      ++tally_.refused;
      const MutexLock lock(mutex_);
      --open_;
      const int before = open_;
      while (before > 0 && open_ == before) answered_.Wait(mutex_);
      return status.code() != absl::StatusCode::kResourceExhausted;
    }
    if (random_() % 8 == 0) call->cancelled = true;
    // At most a few requests in flight, so that queues fill and empty.
    const MutexLock lock(mutex_);
    while (open_ > 6) answered_.Wait(mutex_);
    return true;
  }

  void Check(Call& call, const absl::StatusOr<InferResult>& result) {
    if (++call.answers != 1) ++tally_.wrong;
    if (!result.ok()) {
      ++tally_.dropped;
    } else {
      std::vector<float> doubled(call.values.size());
      const auto bytes = result->outputs[0].bytes.span();
      bool equal = bytes.size() == doubled.size() * sizeof(float);
      if (equal) std::memcpy(doubled.data(), bytes.data(), bytes.size());
      for (size_t i = 0; equal && i < doubled.size(); ++i) equal = doubled[i] == 2 * call.values[i];
      ++(equal ? tally_.correct : tally_.wrong);
    }
    const MutexLock lock(mutex_);
    --open_;
    answered_.NotifyAll();
  }

  BatchScheduler& scheduler_;
  Tally& tally_;
  std::mt19937 random_;
  Mutex mutex_;
  CondVar answered_;
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The statistics have what the callers have seen.
void ExpectToldAlike(const InferStatistics& statistics, const Tally& tally, int64_t reported_rows,
                     int64_t max_batch_size) {
  EXPECT_EQ(statistics.succeeded, static_cast<uint64_t>(tally.correct));
  EXPECT_EQ(statistics.failed, static_cast<uint64_t>(tally.dropped + tally.refused));
  EXPECT_EQ(statistics.rows, static_cast<uint64_t>(reported_rows));
  uint64_t executions = 0;
  for (const auto& [rows, size] : statistics.batch_sizes) {
    EXPECT_LE(rows, max_batch_size);
    executions += size.executions;
  }
  EXPECT_EQ(statistics.executions, executions);
}

void Stress(BatchingPolicy policy) {
  std::atomic<int64_t> reported_rows = 0;
  SchedulerOptions options;
  options.policy = policy;
  options.on_batch = [&](const BatchReport& report) { reported_rows += report.rows; };
  const auto model = FakeModel::Sums();
  auto scheduler = BatchScheduler::Start(model, options);
  ASSERT_TRUE(scheduler.ok());
  Tally tally;
  std::vector<std::unique_ptr<Caller>> callers;
  std::vector<std::thread> threads;
  for (int i = 0; i < kCallers; ++i) {
    callers.push_back(std::make_unique<Caller>(**scheduler, tally, static_cast<uint32_t>(i)));
    threads.emplace_back(&Caller::Run, callers.back().get());
  }
  // Somebody reads statistics all the while.
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop) {
      const InferStatistics statistics = (*scheduler)->statistics();
      EXPECT_GE(statistics.succeeded, last);
      last = statistics.succeeded;
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  reader.join();
  (*scheduler)->Drain();

  EXPECT_EQ(tally.wrong, 0);
  EXPECT_EQ(tally.correct + tally.dropped + tally.refused, tally.sent);
  EXPECT_GT(tally.correct, kCallers * kRequestsPerCaller / 4);
  ExpectToldAlike((*scheduler)->statistics(), tally, reported_rows, policy.max_batch_size);
}

TEST(BatchSchedulerStressTest, OneStream) { Stress({.max_batch_size = 8}); }

TEST(BatchSchedulerStressTest, FourStreams) { Stress({.max_batch_size = 8, .streams = 4}); }

TEST(BatchSchedulerStressTest, TinyQueue) {
  Stress({.max_batch_size = 4, .max_queue_size = 8, .streams = 3});
}

TEST(BatchSchedulerStressTest, WithDelay) {
  Stress({.max_batch_size = 8, .max_queue_delay = absl::Microseconds(200), .streams = 2});
}

}  // namespace
}  // namespace octet::server
