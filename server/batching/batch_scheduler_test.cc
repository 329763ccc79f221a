#include "server/batching/batch_scheduler.h"

#include <cstring>
#include <future>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_model.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::Gate;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One request for FakeModel::Sums() that owns its bytes.
class Request {
 public:
  explicit Request(std::vector<float> values) : values_(std::move(values)) {
    task = std::make_unique<InferTask>();
    const auto rows = static_cast<int64_t>(values_.size() / 4);
    task->input.rows = rows;
    task->input.inputs.emplace_back().shape = {rows, 4};
    task->input.inputs[0].pieces.push_back(std::as_bytes(std::span(values_)));
    task->outputs = {1, 0};
    task->done = [this](absl::StatusOr<InferResult> result) {
      promise_.set_value(std::move(result));
    };
  }

  absl::StatusOr<InferResult> Await() { return promise_.get_future().get(); }

  static std::vector<float> Floats(const OutputTensor& tensor) {
    std::vector<float> floats(tensor.bytes.size() / sizeof(float));
    std::memcpy(floats.data(), tensor.bytes.span().data(), tensor.bytes.size());
    return floats;
  }

  std::unique_ptr<InferTask> task;

 private:
  std::vector<float> values_;
  std::promise<absl::StatusOr<InferResult>> promise_;
};

std::unique_ptr<BatchScheduler> StartOrDie(std::shared_ptr<const runtime::CompiledModel> model,
                                           SchedulerOptions options) {
  auto scheduler = BatchScheduler::Start(std::move(model), std::move(options));
  EXPECT_TRUE(scheduler.ok()) << scheduler.status();
  return *std::move(scheduler);
}

SchedulerOptions Cold() { return {.warm_up = false}; }

TEST(BatchSchedulerTest, AnswersInTheOrderOfTheRequestedOutputs) {
  const auto scheduler = StartOrDie(FakeModel::Sums(), Cold());
  Request request({1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(scheduler->Enqueue(request.task).ok());
  const auto result = request.Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outputs[0].shape, Shape({2, 1}));
  EXPECT_THAT(Request::Floats(result->outputs[0]), ElementsAre(20, 52));
  EXPECT_THAT(Request::Floats(result->outputs[1]), ElementsAre(2, 4, 6, 8, 10, 12, 14, 16));
  EXPECT_LE(result->times.queued, result->times.taken);
  EXPECT_LE(result->times.executed, result->times.stored);
}

TEST(BatchSchedulerTest, WhatWaitsBehindARunIsBatched) {
  Gate gate;
  const auto model = FakeModel::Sums({.on_execute = [&](int64_t) {
    gate.Pass();
    return absl::OkStatus();
  }});
  const auto scheduler = StartOrDie(model, Cold());
  gate.Close();
  Request first({1, 1, 1, 1});
  ASSERT_TRUE(scheduler->Enqueue(first.task).ok());
  gate.AwaitArrivals(1);
  std::vector<std::unique_ptr<Request>> others;
  for (int i = 0; i < 4; ++i) {
    const float x = static_cast<float>(i);
    others.push_back(std::make_unique<Request>(std::vector<float>{x, x, x, x}));
    ASSERT_TRUE(scheduler->Enqueue(others.back()->task).ok());
  }
  EXPECT_EQ(scheduler->waiting(), 4);
  gate.Open();
  ASSERT_TRUE(first.Await().ok());
  for (int i = 0; i < 4; ++i) {
    const auto result = others[i]->Await();
    ASSERT_TRUE(result.ok());
    EXPECT_THAT(Request::Floats(result->outputs[0]), ElementsAre(8.0f * i));
  }
  EXPECT_THAT(model->runs(), ElementsAre(1, 4));
}

TEST(BatchSchedulerTest, StatisticsAddUp) {
  Gate gate;
  std::vector<int64_t> reported;
  SchedulerOptions options = Cold();
  options.on_batch = [&](const BatchReport& report) { reported.push_back(report.rows); };
  const auto model = FakeModel::Sums({.on_execute = [&](int64_t) {
    gate.Pass();
    return absl::OkStatus();
  }});
  const auto scheduler = StartOrDie(model, options);
  gate.Close();
  Request a({1, 1, 1, 1}), b({1, 1, 1, 1, 2, 2, 2, 2}), c({3, 3, 3, 3});
  ASSERT_TRUE(scheduler->Enqueue(a.task).ok());
  gate.AwaitArrivals(1);
  ASSERT_TRUE(scheduler->Enqueue(b.task).ok());
  ASSERT_TRUE(scheduler->Enqueue(c.task).ok());
  gate.Open();
  ASSERT_TRUE(a.Await().ok() && b.Await().ok() && c.Await().ok());
  const InferStatistics statistics = scheduler->statistics();
  EXPECT_EQ(statistics.succeeded, 3u);
  EXPECT_EQ(statistics.rows, 4u);
  EXPECT_EQ(statistics.executions, 2u);
  EXPECT_EQ(statistics.failed, 0u);
  ASSERT_EQ(statistics.batch_sizes.size(), 2u);
  EXPECT_EQ(statistics.batch_sizes.at(1).executions, 1u);
  EXPECT_EQ(statistics.batch_sizes.at(3).executions, 1u);
  // Both requests of the second batch are charged all of its time.
  EXPECT_EQ(statistics.infer,
            statistics.batch_sizes.at(1).infer + 2 * statistics.batch_sizes.at(3).infer);
  EXPECT_LE(absl::Now() - statistics.last_inference, absl::Minutes(1));
  EXPECT_THAT(reported, ElementsAre(1, 3));
}

TEST(BatchSchedulerTest, FailingBatchIsRunOneByOne) {
  Gate gate;
  const auto model = FakeModel::Sums({.on_execute = [&](int64_t rows) {
    gate.Pass();
    return rows > 1 ? absl::InternalError("kernel failed") : absl::OkStatus();
  }});
  const auto scheduler = StartOrDie(model, Cold());
  gate.Close();
  Request first({1, 1, 1, 1}), good({2, 2, 2, 2}), bad({3, 3, 3, 3, 3, 3, 3, 3});
  ASSERT_TRUE(scheduler->Enqueue(first.task).ok());
  gate.AwaitArrivals(1);
  ASSERT_TRUE(scheduler->Enqueue(good.task).ok());
  ASSERT_TRUE(scheduler->Enqueue(bad.task).ok());
  gate.Open();
  ASSERT_TRUE(first.Await().ok());
  EXPECT_TRUE(good.Await().ok());
  const auto failed = bad.Await();
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(failed.status().message(), HasSubstr("kernel failed"));
  EXPECT_EQ(scheduler->statistics().failed, 1u);
  EXPECT_EQ(scheduler->statistics().succeeded, 2u);
}

TEST(BatchSchedulerTest, DrainAnswersWhatWaitsAndRefusesWhatComes) {
  Gate gate;
  const auto model = FakeModel::Sums({.on_execute = [&](int64_t) {
    gate.Pass();
    return absl::OkStatus();
  }});
  const auto scheduler = StartOrDie(model, Cold());
  gate.Close();
  Request running({1, 1, 1, 1}), waiting({2, 2, 2, 2}), late({3, 3, 3, 3});
  ASSERT_TRUE(scheduler->Enqueue(running.task).ok());
  gate.AwaitArrivals(1);
  ASSERT_TRUE(scheduler->Enqueue(waiting.task).ok());
  scheduler->Close();
  EXPECT_EQ(scheduler->Enqueue(late.task).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(scheduler->AwaitDrained(absl::Now()));
  gate.Open();
  EXPECT_TRUE(scheduler->AwaitDrained(absl::InfiniteFuture()));
  scheduler->Drain();
  EXPECT_TRUE(running.Await().ok());
  EXPECT_TRUE(waiting.Await().ok());
}

TEST(BatchSchedulerTest, CancelledRequestIsNotRun) {
  Gate gate;
  const auto model = FakeModel::Sums({.on_execute = [&](int64_t) {
    gate.Pass();
    return absl::OkStatus();
  }});
  const auto scheduler = StartOrDie(model, Cold());
  gate.Close();
  std::atomic<bool> cancelled = false;
  Request running({1, 1, 1, 1}), leaving({2, 2, 2, 2});
  leaving.task->cancelled = &cancelled;
  ASSERT_TRUE(scheduler->Enqueue(running.task).ok());
  gate.AwaitArrivals(1);
  ASSERT_TRUE(scheduler->Enqueue(leaving.task).ok());
  cancelled = true;
  gate.Open();
  EXPECT_EQ(leaving.Await().status().code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(running.Await().ok());
  EXPECT_THAT(model->runs(), ElementsAre(1));
  EXPECT_EQ(scheduler->statistics().failed, 1u);
}

TEST(BatchSchedulerTest, ModelWithoutBatchDimensionRunsOneRequestAtATime) {
  Gate gate;
  const auto model = FakeModel::Sums({.batchable = false, .on_execute = [&](int64_t) {
                                        gate.Pass();
                                        return absl::OkStatus();
                                      }});
  const auto scheduler = StartOrDie(model, Cold());
  EXPECT_EQ(scheduler->max_batch_size(), 1);
  gate.Close();
  Request a({1, 1, 1, 1}), b({2, 2, 2, 2}), c({3, 3, 3, 3});
  for (Request* request : {&a, &b, &c}) ASSERT_TRUE(scheduler->Enqueue(request->task).ok());
  gate.Open();
  for (Request* request : {&a, &b, &c}) EXPECT_TRUE(request->Await().ok());
  EXPECT_THAT(model->runs(), ElementsAre(1, 1, 1));
}

TEST(BatchSchedulerTest, WarmUpRunsEverySizeOnEveryStream) {
  const auto model = FakeModel::Sums();
  std::atomic<int> streams = 0;
  SchedulerOptions options;
  options.policy.streams = 2;
  options.on_stream_start = [&](int) { ++streams; };
  const auto scheduler = StartOrDie(model, options);
  EXPECT_EQ(streams, 2);
  const std::vector<int64_t> runs = model->runs();
  for (const int64_t size : {1, 2, 4, 8}) {
    EXPECT_EQ(std::count(runs.begin(), runs.end(), size), 4) << "2 runs on each of 2 streams";
  }
  EXPECT_EQ(scheduler->statistics().executions, 0u) << "nobody asked for these runs";
}

TEST(BatchSchedulerTest, FailedWarmUpIsAFailedStart) {
  const auto model = FakeModel::Sums({.on_execute = [](int64_t rows) {
    return rows == 8 ? absl::ResourceExhaustedError("arena too large") : absl::OkStatus();
  }});
  const auto scheduler = BatchScheduler::Start(model, {});
  EXPECT_EQ(scheduler.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(scheduler.status().message(), HasSubstr("warm-up with batch size 8"));
}

}  // namespace
}  // namespace octet::server
