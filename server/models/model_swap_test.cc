// Models that are replaced, added and removed while they are served.

#include <atomic>
#include <span>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/models/model_manager.h"
#include "tests/support/fake_model.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::Gate;
using octet::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::Not;

class ModelSwapTest : public ::testing::Test {
 protected:
  ~ModelSwapTest() override {
    run_gate_.Open();
    load_gate_.Open();
  }

  // Models with the fingerprint "bad" do not load. Runs of those with "gated" wait at run_gate_.
  ModelManagerOptions Options(const std::string& fingerprint) {
    ModelManagerOptions options{.repository = directory_.path()};
    options.defaults.fingerprint = fingerprint;
    options.loader = [this, fingerprint](const ModelSource&, const ProgressFn&)
        -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
      ++loads_;
      load_gate_.Pass();
      if (fingerprint == "bad") return absl::FailedPreconditionError("accuracy 12 dB, target 20");
      FakeModel::Options model;
      // Warm-up runs pass: a model is gated from its first request on.
      model.on_execute = [this, gated = fingerprint == "gated"](int64_t) {
        if (gated && serving_) run_gate_.Pass();
        return absl::OkStatus();
      };
      return FakeModel::Sums(std::move(model));
    };
    return options;
  }

  void Start(const std::string& fingerprint) {
    manager_ = *ModelManager::Create(Options(fingerprint), metrics_);
    manager_->StartLoading();
    AwaitLoads();
    serving_ = true;
  }

  void Update(const std::string& fingerprint) {
    const absl::Status status = manager_->Update(Options(fingerprint));
    ASSERT_TRUE(status.ok()) << status;
  }

  void AwaitLoads() { ASSERT_TRUE(manager_->AwaitLoads(absl::InfiniteFuture())); }

  // Queues one row.
  absl::Status Send(ServableModel& model) {
    auto task = std::make_unique<InferTask>();
    task->input.rows = 1;
    task->input.inputs.push_back(
        {.shape = {1, 4}, .pieces = {std::as_bytes(std::span<const float>(row_))}});
    task->outputs = {0};
    task->done = [this](const absl::StatusOr<InferResult>& result) {
      ++(result.ok() ? answered_ : failed_);
    };
    return model.Enqueue(task);
  }

  std::shared_ptr<ServableModel> Model() { return *manager_->Acquire("m", ""); }

  TemporaryDirectory directory_;
  MetricsRegistry metrics_;
  Gate load_gate_;
  Gate run_gate_;
  std::atomic<bool> serving_ = false;
  std::atomic<int> loads_ = 0;
  std::atomic<int> answered_ = 0;
  std::atomic<int> failed_ = 0;
  const float row_[4] = {1, 2, 3, 4};
  std::unique_ptr<ModelManager> manager_;
};

TEST_F(ModelSwapTest, RequestsInFlightAndQueuedFinishOnTheOldModel) {
  directory_.Write("m.onnx");
  Start("gated");
  run_gate_.Close();
  auto old = Model();
  ASSERT_TRUE(Send(*old).ok());
  run_gate_.AwaitArrivals(1);
  ASSERT_TRUE(Send(*old).ok());
  ASSERT_TRUE(Send(*old).ok());
  Update("free");
  while (Model() == old) std::this_thread::yield();
  EXPECT_EQ(answered_, 0) << "the old one still runs";
  EXPECT_TRUE(absl::IsUnavailable(Send(*old))) << "closed: who has it looks for the successor";
  EXPECT_TRUE(manager_->IsReady());
  ASSERT_TRUE(Send(*Model()).ok());
  while (answered_ < 1) std::this_thread::yield();
  run_gate_.Open();
  AwaitLoads();
  EXPECT_EQ(answered_, 4);
  EXPECT_EQ(failed_, 0);
  const InferStatistics statistics = Model()->statistics();
  EXPECT_EQ(statistics.succeeded, 4u) << "they go on over the swap";
  EXPECT_EQ(statistics.failed, 0u);
  EXPECT_EQ(old.use_count(), 1) << "nobody but this test keeps the old model";
}

TEST_F(ModelSwapTest, SeriesGoOnOverSwaps) {
  directory_.Write("m.onnx");
  Start("1");
  Model()->metrics().CountRequest(absl::StatusCode::kOk, absl::ZeroDuration());
  const std::string ok = "octet_inference_requests_total{code=\"OK\",model=\"m\",version=\"1\"} ";
  for (int swap = 2; swap < 5; ++swap) {
    Update(absl::StrCat(swap));
    AwaitLoads();
    Model()->metrics().CountRequest(absl::StatusCode::kOk, absl::ZeroDuration());
    EXPECT_THAT(metrics_.Scrape(), HasSubstr(absl::StrCat(ok, swap, "\n")));
  }
  EXPECT_THAT(metrics_.Scrape(), HasSubstr("octet_model_swap_total{model=\"m\",result=\"ok\","
                                           "version=\"1\"} 3\n"));
  EXPECT_THAT(metrics_.Scrape(), HasSubstr("octet_model_memory_saved_bytes{model=\"m\","
                                           "version=\"1\"} 3000\n"));
}

TEST_F(ModelSwapTest, AModelThatCannotBeReplacedStaysAndSaysWhy) {
  directory_.Write("m.onnx");
  Start("good");
  const auto old = Model();
  Update("bad");
  AwaitLoads();
  EXPECT_EQ(Model(), old);
  EXPECT_TRUE(Send(*old).ok());
  EXPECT_TRUE(manager_->IsReady());
  EXPECT_EQ(manager_->Index()[0].state, ModelState::kReady);
  EXPECT_EQ(manager_->Index()[0].reason, "serves as before: accuracy 12 dB, target 20");
  EXPECT_THAT(metrics_.Scrape(), HasSubstr("octet_model_swap_total{model=\"m\",result=\"failed\","
                                           "version=\"1\"} 1\n"));
  Update("bad");
  AwaitLoads();
  EXPECT_EQ(loads_, 2) << "not tried again until something changes";
  Update("good");
  AwaitLoads();
  EXPECT_EQ(loads_, 2) << "that one is what is served";
  EXPECT_EQ(manager_->Index()[0].reason, "");
  EXPECT_EQ(Model(), old);
}

TEST_F(ModelSwapTest, WhatDidNotChangeIsNotTouched) {
  directory_.Write("m.onnx");
  Start("1");
  const auto old = Model();
  Update("1");
  AwaitLoads();
  EXPECT_EQ(Model(), old);
  EXPECT_EQ(loads_, 1);
}

TEST_F(ModelSwapTest, TheNewestSettingsWin) {
  directory_.Write("m.onnx");
  Start("1");
  load_gate_.Close();
  Update("2");
  load_gate_.AwaitArrivals(2);
  Update("bad");
  Update("4");
  load_gate_.Open();
  AwaitLoads();
  EXPECT_EQ(loads_, 3) << "1, 2, and 4; nobody waited for the one between";
  EXPECT_EQ(manager_->Index()[0].reason, "");
}

TEST_F(ModelSwapTest, ModelsComeAndGo) {
  directory_.Write("m.onnx");
  directory_.Write("n.onnx");
  Start("1");
  std::filesystem::remove(directory_.path() / "n.onnx");
  directory_.Write("o.onnx");
  load_gate_.Close();
  Update("1");
  load_gate_.AwaitArrivals(3);
  EXPECT_TRUE(manager_->IsReady()) << "a model that comes later keeps nobody from being served";
  EXPECT_TRUE(manager_->Acquire("n", "").ok()) << "what goes, goes last";
  load_gate_.Open();
  AwaitLoads();
  EXPECT_TRUE(manager_->Acquire("m", "").ok());
  EXPECT_TRUE(absl::IsNotFound(manager_->Acquire("n", "").status()));
  EXPECT_TRUE(manager_->Acquire("o", "").ok());
  EXPECT_THAT(metrics_.Scrape(), Not(HasSubstr("model=\"n\"")));
}

TEST_F(ModelSwapTest, AVersionLeavesWhenItsSuccessorIsReady) {
  directory_.Write("m/1/model.onnx");
  Start("1");
  directory_.Write("m/2/model.onnx");
  Update("bad");
  AwaitLoads();
  EXPECT_EQ(Model()->version(), 1) << "version 2 cannot be loaded";
  Update("2");
  AwaitLoads();
  EXPECT_EQ(Model()->version(), 2);
  EXPECT_TRUE(absl::IsNotFound(manager_->Acquire("m", "1").status()));
}

TEST_F(ModelSwapTest, ReloadLoadsAgainAndTells) {
  directory_.Write("m.onnx");
  Start("1");
  const auto old = Model();
  std::vector<absl::Status> told;
  const auto tell = [&](const absl::Status& status) { told.push_back(status); };
  manager_->Reload("x", tell);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(told[0]));
  manager_->Reload("m", tell);
  AwaitLoads();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[1].ok()) << told[1];
  EXPECT_NE(Model(), old);
}

TEST_F(ModelSwapTest, CloseEndsReloadsThatWait) {
  directory_.Write("m.onnx");
  Start("1");
  load_gate_.Close();
  std::vector<absl::Status> told;
  manager_->Reload("m", [&](const absl::Status& status) { told.push_back(status); });
  load_gate_.AwaitArrivals(2);
  manager_->Close();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(told[0]));
  EXPECT_TRUE(absl::IsUnavailable(manager_->Update(Options("2"))));
  load_gate_.Open();
  AwaitLoads();
  EXPECT_EQ(told.size(), 1u);
}

// What Replace() is called with; counts its calls in `calls`.
ModelLoader Loader(std::atomic<int>& calls, const absl::Status& status = absl::OkStatus()) {
  return [&calls, status](
             const ModelSource&,
             const ProgressFn&) -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
    ++calls;
    if (!status.ok()) return status;
    return FakeModel::Sums();
  };
}

TEST_F(ModelSwapTest, ReplacesWhatIsServedWithoutBeingAsked) {
  directory_.Write("m.onnx");
  Start("1");
  const ServableModel* const before = Model().get();
  std::atomic<int> calls = 0;
  EXPECT_TRUE(manager_->Replace({.name = "m"}, Loader(calls)));
  AwaitLoads();
  EXPECT_NE(Model().get(), before);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(loads_, 1) << "by that loader alone";
  Update("1");
  AwaitLoads();
  EXPECT_EQ(loads_, 1) << "the settings are as they were";
  Update("2");
  AwaitLoads();
  EXPECT_EQ(loads_, 2);
  EXPECT_EQ(calls, 1);
}

TEST_F(ModelSwapTest, WhatCannotReplaceLeavesWhatServes) {
  directory_.Write("m.onnx");
  Start("1");
  const ServableModel* const before = Model().get();
  std::atomic<int> calls = 0;
  EXPECT_TRUE(manager_->Replace({.name = "m"}, Loader(calls, absl::AbortedError("no gain"))));
  AwaitLoads();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(Model().get(), before);
  EXPECT_TRUE(manager_->IsReady());
  EXPECT_THAT(manager_->Index().front().reason, HasSubstr("serves as before: no gain"));
  EXPECT_THAT(metrics_.Scrape(), HasSubstr(R"(result="failed",version="1"} 1)"));
}

TEST_F(ModelSwapTest, OtherLoadsMakeReplacementsObsolete) {
  directory_.Write("m.onnx");
  Start("1");
  std::atomic<int> calls = 0;
  load_gate_.Close();
  manager_->Reload("m", [](const absl::Status&) {});
  load_gate_.AwaitArrivals(2);  // the first load and this one
  EXPECT_TRUE(manager_->Replace({.name = "m"}, Loader(calls)));
  load_gate_.Open();
  AwaitLoads();
  EXPECT_EQ(calls, 0) << "it was made for the model before";
  EXPECT_EQ(loads_, 2);
}

TEST_F(ModelSwapTest, WhatIsAboutToBeReplacedIsNotReplaced) {
  directory_.Write("m.onnx");
  Start("1");
  Update("bad");
  AwaitLoads();
  std::atomic<int> calls = 0;
  EXPECT_FALSE(manager_->Replace({.name = "m"}, Loader(calls))) << "other settings are wanted";
  Update("1");
  AwaitLoads();
  EXPECT_TRUE(manager_->Replace({.name = "m"}, Loader(calls)));
  AwaitLoads();
  EXPECT_EQ(calls, 1);
}

TEST_F(ModelSwapTest, WhatIsNotServedIsNotReplaced) {
  directory_.Write("m.onnx");
  Start("1");
  std::atomic<int> calls = 0;
  EXPECT_FALSE(manager_->Replace({.name = "other"}, Loader(calls)));
  EXPECT_FALSE(manager_->Replace({.name = "m", .version = 7}, Loader(calls)));
  ASSERT_TRUE(manager_->Unload("m", 1).ok());
  EXPECT_FALSE(manager_->Replace({.name = "m"}, Loader(calls)));
  manager_->Close();
  EXPECT_FALSE(manager_->Replace({.name = "m"}, Loader(calls)));
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace octet::server
