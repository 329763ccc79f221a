// Random arrivals, deadlines, cancellations and shapes: what must hold for every schedule.

#include <map>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "server/batching/batch_queue.h"

namespace octet::server {
namespace {

struct Tracked {
  int64_t width;
  bool urgent;
  std::unique_ptr<std::atomic<bool>> cancelled = std::make_unique<std::atomic<bool>>(false);
};

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    policy_.max_batch_size = Pick({1, 3, 8, 16});
    policy_.streams = static_cast<int>(Pick({1, 2, 5}));
    policy_.max_queue_size = Pick({2, 20, 1000});
    policy_.max_queue_delay = absl::Microseconds(Pick({0, 0, 500}));
    queue_ = std::make_unique<BatchQueue>(policy_, std::vector<int64_t>{1, 2, 4, 8, 16});
  }

  void Run(int events) {
    for (int i = 0; i < events && !::testing::Test::HasFailure(); ++i) {
      now_ += absl::Microseconds(Pick({0, 1, 50, 400}));
      switch (Pick({0, 0, 1, 2, 3})) {
        case 0:
          Arrive();
          break;
        case 1:
          TakeOne();
          break;
        case 2:
          CancelOne();
          break;
        default:
          FinishOne();
      }
      CheckCounts();
    }
    queue_->Close();
    while (!queue_->empty() && !::testing::Test::HasFailure()) TakeOne();
    EXPECT_EQ(answered_.size(), accepted_.size()) << "each accepted request leaves once";
  }

 private:
  int64_t Pick(std::vector<int64_t> values) { return values[random_() % values.size()]; }

  void Arrive() {
    auto task = std::make_unique<InferTask>();
    const int id = next_id_++;
    Tracked tracked{.width = Pick({1, 2, 3}), .urgent = Pick({0, 0, 1}) == 1};
    task->input.rows = Pick({1, 1, 1, 2, 5, 20});
    task->input.inputs.emplace_back().shape = {task->input.rows, tracked.width};
    task->outputs.push_back(id);  // a name tag that travels with the request
    task->urgent = tracked.urgent;
    task->cancelled = tracked.cancelled.get();
    if (Pick({0, 1}) == 1) task->deadline = now_ + absl::Microseconds(Pick({1, 300, 5000}));
    const int64_t rows = task->input.rows;
    std::vector<Dropped> dropped;
    const absl::Status status = queue_->Enqueue(task, now_, dropped);
    EXPECT_EQ(status.ok(), task == nullptr) << "owned by exactly one side";
    for (Dropped& entry : dropped) Leave(*entry.task);
    if (status.ok()) accepted_.emplace(id, std::move(tracked));
    if (rows > queue_->limit()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    }
  }

  void TakeOne() {
    Taken taken = queue_->TakeBatch(now_);
    for (Dropped& dropped : taken.dropped) {
      EXPECT_FALSE(dropped.status.ok());
      Leave(*dropped.task);
    }
    if (taken.batch.empty()) return;
    EXPECT_LE(RowCount(taken.batch), queue_->limit());
    std::set<int64_t> widths;
    for (const auto& task : taken.batch) {
      const int id = task->outputs[0];
      Leave(*task);
      const Tracked& tracked = accepted_.at(id);
      EXPECT_FALSE(tracked.cancelled->load()) << "nobody runs for a caller who has left";
      EXPECT_GT(task->deadline, now_);
      widths.insert(tracked.width);
      int& last = last_taken_[{tracked.width, tracked.urgent}];
      EXPECT_GT(id, last) << "first come, first served within a shape and urgency";
      last = id;
    }
    EXPECT_EQ(widths.size(), 1u) << "shapes never mix";
    running_.push_back(std::move(taken.batch));
  }

  void FinishOne() {
    if (running_.empty()) return;
    const Batch batch = std::move(running_.back());
    running_.pop_back();
    queue_->RunFinished(*batch.front(), RowCount(batch), absl::Microseconds(Pick({50, 90, 700})));
  }

  void CancelOne() {
    if (accepted_.empty()) return;
    auto it = accepted_.lower_bound(static_cast<int>(random_() % next_id_));
    if (it != accepted_.end()) it->second.cancelled->store(true);
  }

  void Leave(const InferTask& task) {
    const int id = task.outputs[0];
    EXPECT_TRUE(accepted_.contains(id));
    EXPECT_TRUE(answered_.insert(id).second) << "request " << id << " left twice";
  }

  void CheckCounts() {
    EXPECT_EQ(queue_->waiting(), static_cast<int64_t>(accepted_.size() - answered_.size()));
    EXPECT_LE(queue_->waiting(), policy_.max_queue_size);
    EXPECT_GE(queue_->waiting_rows(), queue_->waiting());
    EXPECT_EQ(queue_->empty(), queue_->waiting() == 0);
  }

  std::mt19937 random_;
  BatchingPolicy policy_;
  std::unique_ptr<BatchQueue> queue_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  int next_id_ = 1;
  std::map<int, Tracked> accepted_;
  std::set<int> answered_;
  std::map<std::pair<int64_t, bool>, int> last_taken_;
  std::vector<Batch> running_;
};

TEST(BatchQueuePropertyTest, HoldsForRandomSchedules) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Simulation(seed).Run(600);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace octet::server
