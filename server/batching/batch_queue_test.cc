#include "server/batching/batch_queue.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

std::unique_ptr<InferTask> Task(int64_t rows, int64_t width = 4) {
  auto task = std::make_unique<InferTask>();
  task->input.rows = rows;
  task->input.inputs.emplace_back().shape = {rows, width};
  return task;
}

// A queue with a clock that tests set.
class BatchQueueTest : public ::testing::Test {
 protected:
  void Make(BatchingPolicy policy, std::vector<int64_t> sizes = {1, 2, 4, 8}) {
    queue_ = std::make_unique<BatchQueue>(policy, std::move(sizes));
  }
  absl::Status Add(std::unique_ptr<InferTask> task) {
    return queue_->Enqueue(task, now_, dropped_);
  }
  absl::Status Add(int64_t rows) { return Add(Task(rows)); }
  void AddMany(int count, int64_t rows = 1) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Add(rows).ok());
  }
  std::vector<int64_t> Take() {
    Taken taken = queue_->TakeBatch(now_);
    for (Dropped& dropped : taken.dropped) dropped_.push_back(std::move(dropped));
    call_again_ = taken.call_again;
    reason_ = taken.reason;
    std::vector<int64_t> rows;
    for (const auto& task : taken.batch) rows.push_back(task->input.rows);
    return rows;
  }
  void Seed(int64_t rows, absl::Duration elapsed) {
    queue_->SeedServiceTime(Task(rows)->input, elapsed);
  }

  absl::Time now_ = kStart;
  std::unique_ptr<BatchQueue> queue_;
  std::vector<Dropped> dropped_;
  absl::Time call_again_;
  DispatchReason reason_ = DispatchReason::kStreamIdle;
};

TEST_F(BatchQueueTest, OneStreamTakesEverythingThatFits) {
  Make({.max_batch_size = 8});
  AddMany(11);
  EXPECT_EQ(Take().size(), 8u);
  EXPECT_EQ(Take().size(), 3u);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(call_again_, absl::InfiniteFuture());
}

TEST_F(BatchQueueTest, BatchesSayWhyTheyLeave) {
  Make({.max_batch_size = 8});
  AddMany(9);
  Take();
  EXPECT_EQ(reason_, DispatchReason::kFull);
  Take();
  EXPECT_EQ(reason_, DispatchReason::kStreamIdle);
  Make({.max_batch_size = 8, .max_queue_delay = absl::Milliseconds(5)});
  AddMany(2);
  EXPECT_THAT(Take(), IsEmpty());
  now_ += absl::Milliseconds(5);
  EXPECT_EQ(Take().size(), 2u);
  EXPECT_EQ(reason_, DispatchReason::kDelayOver);
  AddMany(1);
  queue_->Close();
  EXPECT_EQ(Take().size(), 1u);
  EXPECT_EQ(reason_, DispatchReason::kDraining);
}

TEST_F(BatchQueueTest, EachOfSeveralStreamsTakesItsShare) {
  Make({.max_batch_size = 8, .streams = 4});
  AddMany(8);
  EXPECT_EQ(Take().size(), 2u) << "ceil(8 / 4)";
  EXPECT_EQ(Take().size(), 2u) << "ceil(6 / 4)";
  EXPECT_EQ(Take().size(), 1u) << "ceil(4 / 4)";
}

TEST_F(BatchQueueTest, ShareIsRoundedUpToACompiledSizeThatCanBeFilled) {
  Make({.max_batch_size = 8, .streams = 2});
  AddMany(6);
  EXPECT_EQ(Take().size(), 4u) << "the share is 3; size 4 is compiled, and the rows are there";
}

TEST_F(BatchQueueTest, PaddingIsAvoidedWhereTwoRunsAreCheaper) {
  Make({.max_batch_size = 8});
  Seed(1, absl::Milliseconds(1));
  Seed(4, absl::Milliseconds(4));
  Seed(8, absl::Milliseconds(8));
  AddMany(5);
  now_ += absl::Seconds(1);  // the queue is not short
  EXPECT_EQ(Take().size(), 4u) << "4 + 1 takes 5 ms, 5 padded to 8 takes 8 ms";
}

TEST_F(BatchQueueTest, ShortQueueStopsAtTheKnee) {
  Make({.max_batch_size = 8});
  for (const int64_t size : {1, 2, 4, 8}) Seed(size, absl::Milliseconds(10) * size);
  AddMany(8);
  EXPECT_EQ(Take().size(), 1u) << "batches gain nothing, and nobody has waited yet";
  now_ += absl::Milliseconds(50);
  EXPECT_EQ(Take().size(), 7u) << "a long queue is worked off in large batches";
}

TEST_F(BatchQueueTest, RequestsAreNeverSplitAndNeverExceedTheLimit) {
  Make({.max_batch_size = 8});
  for (const int64_t rows : {3, 3, 3, 8}) ASSERT_TRUE(Add(rows).ok());
  EXPECT_THAT(Take(), ElementsAre(3, 3));
  EXPECT_THAT(Take(), ElementsAre(3));
  EXPECT_THAT(Take(), ElementsAre(8));
}

TEST_F(BatchQueueTest, RequestLargerThanTheShareGoesAlone) {
  Make({.max_batch_size = 8, .streams = 4});
  for (const int64_t rows : {1, 6, 1}) ASSERT_TRUE(Add(rows).ok());
  EXPECT_THAT(Take(), ElementsAre(1)) << "the share is 2: the small one does not wait for six";
  EXPECT_THAT(Take(), ElementsAre(6));
  EXPECT_THAT(Take(), ElementsAre(1));
}

TEST_F(BatchQueueTest, ShapesDoNotMixAndTheOldestGoesFirst) {
  Make({.max_batch_size = 8});
  ASSERT_TRUE(Add(Task(1, 4)).ok());
  now_ += absl::Milliseconds(1);
  ASSERT_TRUE(Add(Task(2, 5)).ok());
  now_ += absl::Milliseconds(1);
  ASSERT_TRUE(Add(Task(1, 4)).ok());
  EXPECT_THAT(Take(), ElementsAre(1, 1));
  EXPECT_THAT(Take(), ElementsAre(2));
}

TEST_F(BatchQueueTest, RefusesWhatIsTooLarge) {
  Make({.max_batch_size = 6});
  const absl::Status status = Add(7);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("from 1 to 6, not 7"));
}

TEST_F(BatchQueueTest, LimitIsTheLargestCompiledSizeAtMost) {
  Make({.max_batch_size = 32});
  EXPECT_EQ(queue_->limit(), 8);
}

TEST_F(BatchQueueTest, RefusesWhenFull) {
  Make({.max_queue_size = 2});
  AddMany(2);
  auto task = Task(1);
  EXPECT_EQ(queue_->Enqueue(task, now_, dropped_).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(task, nullptr) << "a refused request stays with its owner";
}

TEST_F(BatchQueueTest, FullQueueMakesRoomByDroppingTheDead) {
  Make({.max_queue_size = 2});
  auto dying = Task(1);
  dying->deadline = now_ + absl::Milliseconds(5);
  ASSERT_TRUE(Add(1).ok());
  ASSERT_TRUE(Add(std::move(dying)).ok());
  now_ += absl::Milliseconds(5);
  EXPECT_TRUE(Add(1).ok());
  ASSERT_EQ(dropped_.size(), 1u);
  EXPECT_EQ(dropped_[0].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue_->waiting(), 2);
  EXPECT_EQ(queue_->waiting_rows(), 2);
}

TEST_F(BatchQueueTest, ClosedQueueRefusesAndEmptiesWithoutDelay) {
  Make({.max_queue_delay = absl::Seconds(1)});
  AddMany(1);
  EXPECT_THAT(Take(), IsEmpty());
  queue_->Close();
  EXPECT_EQ(Add(1).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Take(), ElementsAre(1));
}

TEST_F(BatchQueueTest, DropsTheExpiredAndTheCancelled) {
  Make({.max_batch_size = 8});
  std::atomic<bool> cancelled = false;
  auto expiring = Task(1);
  expiring->deadline = now_ + absl::Milliseconds(1);
  auto leaving = Task(1);
  leaving->cancelled = &cancelled;
  auto impatient = Task(1);
  impatient->queue_deadline = now_ + absl::Milliseconds(2);
  ASSERT_TRUE(Add(std::move(expiring)).ok());
  ASSERT_TRUE(Add(2).ok());
  ASSERT_TRUE(Add(std::move(leaving)).ok());
  ASSERT_TRUE(Add(std::move(impatient)).ok());
  ASSERT_TRUE(Add(1).ok());
  now_ += absl::Milliseconds(2);
  cancelled = true;
  EXPECT_THAT(Take(), ElementsAre(2, 1));
  ASSERT_EQ(dropped_.size(), 3u);
  EXPECT_EQ(dropped_[0].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(dropped_[1].status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(dropped_[2].status.message(), HasSubstr("timeout parameter"));
}

TEST_F(BatchQueueTest, NothingAliveMeansNoBatch) {
  Make({});
  std::atomic<bool> cancelled = true;
  auto task = Task(1);
  task->cancelled = &cancelled;
  ASSERT_TRUE(Add(std::move(task)).ok());
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(dropped_.size(), 1u);
  EXPECT_TRUE(queue_->empty());
}

TEST_F(BatchQueueTest, DropsWhatCannotBeFinishedInTime) {
  Make({});
  Seed(1, absl::Milliseconds(10));
  auto task = Task(1);
  task->deadline = now_ + absl::Milliseconds(15);
  ASSERT_TRUE(Add(std::move(task)).ok());
  now_ += absl::Milliseconds(6);
  EXPECT_THAT(Take(), IsEmpty());
  ASSERT_EQ(dropped_.size(), 1u);
  EXPECT_EQ(dropped_[0].status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(BatchQueueTest, StaleEstimateDoesNotLockRequestsOut) {
  Make({});
  Seed(1, absl::Seconds(10));  // something was wrong with that run
  int refused = 0;
  while (true) {
    auto task = Task(1);
    task->deadline = now_ + absl::Seconds(1);
    ASSERT_TRUE(Add(std::move(task)).ok());
    if (!Take().empty()) break;
    ASSERT_LT(++refused, 100);
  }
  EXPECT_GT(refused, 0);
}

TEST_F(BatchQueueTest, RefusesAtTheDoorWhatWouldExpireInTheQueue) {
  Make({.max_batch_size = 1}, {1});
  Seed(1, absl::Milliseconds(10));
  AddMany(10);
  auto hopeless = Task(1);
  hopeless->deadline = now_ + absl::Milliseconds(50);
  EXPECT_EQ(Add(std::move(hopeless)).code(), absl::StatusCode::kDeadlineExceeded);
  auto hopeful = Task(1);
  hopeful->deadline = now_ + absl::Milliseconds(150);
  EXPECT_TRUE(Add(std::move(hopeful)).ok());
}

TEST_F(BatchQueueTest, PastDeadlineIsRefusedAtTheDoor) {
  Make({});
  auto task = Task(1);
  task->deadline = now_;
  EXPECT_EQ(Add(std::move(task)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(BatchQueueTest, DelayEndsWithTimeOrCompany) {
  Make({.max_batch_size = 4, .max_queue_delay = absl::Milliseconds(3)}, {1, 2, 4});
  AddMany(2);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(call_again_, now_ + absl::Milliseconds(3));
  AddMany(2);
  EXPECT_EQ(Take().size(), 4u);
  AddMany(1);
  EXPECT_THAT(Take(), IsEmpty());
  now_ += absl::Milliseconds(3);
  EXPECT_EQ(Take().size(), 1u);
}

TEST_F(BatchQueueTest, DelayIsForTheLastIdleStreamOnly) {
  Make({.max_queue_delay = absl::Milliseconds(3), .streams = 2});
  AddMany(1);
  EXPECT_EQ(Take().size(), 1u) << "the other stream is idle: it will take who comes next";
  AddMany(1);
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(BatchQueueTest, DelayNeverCostsADeadline) {
  Make({.max_queue_delay = absl::Milliseconds(3)});
  auto task = Task(1);
  task->queue_deadline = now_ + absl::Milliseconds(2);
  ASSERT_TRUE(Add(std::move(task)).ok());
  EXPECT_EQ(Take().size(), 1u);
}

TEST_F(BatchQueueTest, UrgentGoesFirstButNotForEver) {
  Make({.max_batch_size = 1}, {1});
  ASSERT_TRUE(Add(Task(1)).ok());
  for (int i = 0; i < 20; ++i) {
    auto task = Task(1);
    task->urgent = true;
    ASSERT_TRUE(Add(std::move(task)).ok());
  }
  int turn = 0;
  for (;; ++turn) {
    const Taken taken = queue_->TakeBatch(now_);
    ASSERT_EQ(taken.batch.size(), 1u);
    if (!taken.batch[0]->urgent) break;
  }
  EXPECT_EQ(turn, 7);
}

TEST_F(BatchQueueTest, ForgetsShapesThatNobodyUses) {
  Make({.max_batch_size = 1}, {1});
  for (int64_t width = 1; width < 5000; ++width) {
    ASSERT_TRUE(Add(Task(1, width)).ok());
    ASSERT_EQ(Take().size(), 1u);
  }
  EXPECT_TRUE(queue_->empty());
}

}  // namespace
}  // namespace octet::server
