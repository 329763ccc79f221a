#include "server/models/model_manager.h"

#include <atomic>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_model.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::Gate;
using octet::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ModelManagerTest : public ::testing::Test {
 protected:
  // Models whose names begin with "bad" fail to load.
  std::unique_ptr<ModelManager> Start(ModelManagerOptions options) {
    options.repository = directory_.path();
    options.loader = [this](const ModelSource& source, const ProgressFn& progress)
        -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
      progress("calibrating");
      gate_.Pass();
      if (absl::StartsWith(source.name, "bad")) {
        return absl::UnimplementedError("operators not supported: NonMaxSuppression");
      }
      return FakeModel::Sums();
    };
    auto manager = ModelManager::Create(std::move(options), metrics_);
    EXPECT_TRUE(manager.ok()) << manager.status();
    (*manager)->StartLoading();
    return *std::move(manager);
  }

  static void AwaitLoads(const ModelManager& manager) {
    ASSERT_TRUE(manager.AwaitLoads(absl::InfiniteFuture()));
  }

  TemporaryDirectory directory_;
  MetricsRegistry metrics_;
  Gate gate_;
};

TEST_F(ModelManagerTest, ServesTheNewestVersionByDefault) {
  directory_.Write("m/1/model.onnx");
  directory_.Write("m/3/model.onnx");
  const auto manager = Start({.defaults = {.versions = {.latest = 2}}});
  AwaitLoads(*manager);
  EXPECT_EQ((*manager->Acquire("m", ""))->version(), 3);
  EXPECT_EQ((*manager->Acquire("m", "-1"))->version(), 3);
  EXPECT_EQ((*manager->Acquire("m", "1"))->version(), 1);
  EXPECT_EQ(manager->Acquire("m", "2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(manager->Acquire("m", "new").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(manager->Acquire("n", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(manager->Acquire("n", "x").status().code(), absl::StatusCode::kInvalidArgument)
      << "the version is looked at before the model";
  EXPECT_TRUE(manager->IsReady());
}

TEST_F(ModelManagerTest, LoadingModelIsUnavailableAndKeepsTheServerUnready) {
  directory_.Write("m.onnx");
  gate_.Close();
  const auto manager = Start({});
  gate_.AwaitArrivals(1);
  const auto model = manager->Acquire("m", "");
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(model.status().message(), HasSubstr("loading"));
  ASSERT_EQ(manager->Unready().size(), 1u);
  EXPECT_EQ(manager->Unready()[0].state, ModelState::kLoading);
  EXPECT_EQ(manager->Unready()[0].reason, "calibrating");
  EXPECT_FALSE(manager->IsReady());
  gate_.Open();
  AwaitLoads(*manager);
  EXPECT_TRUE(manager->Acquire("m", "").ok());
  EXPECT_TRUE(manager->IsReady());
}

TEST_F(ModelManagerTest, FailedModelSaysWhy) {
  directory_.Write("bad.onnx");
  directory_.Write("empty/1/readme.txt");
  directory_.Write("good.onnx");
  const auto manager = Start({});
  AwaitLoads(*manager);
  const auto model = manager->Acquire("bad", "");
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(model.status().message(), HasSubstr("NonMaxSuppression"));
  const std::vector<ModelStatus> index = manager->Index();
  ASSERT_EQ(index.size(), 3u);
  EXPECT_EQ(index[0].state, ModelState::kFailed);
  EXPECT_THAT(index[0].reason, HasSubstr("NonMaxSuppression"));
  EXPECT_EQ(index[1].state, ModelState::kFailed);
  EXPECT_THAT(index[1].reason, HasSubstr("no such file"));
  EXPECT_EQ(index[2].state, ModelState::kReady);
  EXPECT_FALSE(manager->IsReady()) << "readiness is strict unless told otherwise";
  EXPECT_TRUE(manager->Acquire("good", "").ok());
}

TEST_F(ModelManagerTest, LenientReadinessForgivesFailures) {
  directory_.Write("bad.onnx");
  directory_.Write("good.onnx");
  const auto manager = Start({.strict_readiness = false});
  AwaitLoads(*manager);
  EXPECT_TRUE(manager->IsReady());
}

TEST_F(ModelManagerTest, ConfigurationOverridesAndAdds) {
  directory_.Write("m/1/model.onnx");
  directory_.Write("m/2/model.onnx");
  TemporaryDirectory elsewhere;
  const auto file = elsewhere.Write("other.onnx");
  ModelSettings settings;
  settings.versions = {.kind = VersionSelection::Kind::kSpecific, .versions = {1, 9}};
  settings.batching.max_batch_size = 4;
  const auto manager = Start({.models = {{.name = "m", .settings = settings},
                                         {.name = "n", .path = file},
                                         {.name = "lost"},
                                         {.name = "../m", .path = file}}});
  AwaitLoads(*manager);
  EXPECT_EQ((*manager->Acquire("m", ""))->version(), 1);
  EXPECT_EQ((*manager->Acquire("m", ""))->max_batch_size(), 4);
  EXPECT_TRUE(manager->Acquire("n", "").ok());
  EXPECT_THAT(manager->Acquire("lost", "").status().message(), HasSubstr("not in"));
  EXPECT_THAT(manager->Acquire("m", "9").status().message(), HasSubstr("version policy"));
  EXPECT_THAT(manager->Acquire("../m", "").status().message(), HasSubstr("letters, digits"));
}

TEST_F(ModelManagerTest, ConfigurationMustNotNameAModelTwice) {
  directory_.Write("m.onnx");
  TemporaryDirectory elsewhere;
  ModelManagerOptions options{.repository = directory_.path(),
                              .models = {{.name = "m", .path = elsewhere.Write("m.onnx")}}};
  EXPECT_THAT(ModelManager::Create(options, metrics_).status().message(),
              HasSubstr("two models named \"m\""));
  options.models = {{.name = "m"}, {.name = "m"}};
  EXPECT_THAT(ModelManager::Create(options, metrics_).status().message(), HasSubstr("twice"));
}

TEST_F(ModelManagerTest, UnloadRemovesTheModelAndItsSeries) {
  directory_.Write("m/1/model.onnx");
  directory_.Write("m/2/model.onnx");
  const auto manager = Start({.defaults = {.versions = {.kind = VersionSelection::Kind::kAll}}});
  AwaitLoads(*manager);
  EXPECT_THAT(metrics_.Scrape(), HasSubstr("version=\"2\""));
  ASSERT_TRUE(manager->Unload("m", 2).ok());
  EXPECT_THAT(metrics_.Scrape(), Not(HasSubstr("version=\"2\"")));
  EXPECT_EQ((*manager->Acquire("m", ""))->version(), 1) << "now the newest that is ready";
  EXPECT_EQ(manager->Acquire("m", "2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(manager->Unload("m", 2).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(manager->IsReady());
}

TEST_F(ModelManagerTest, ClosedManagerTakesNothing) {
  directory_.Write("a.onnx");
  directory_.Write("b.onnx");
  const auto manager = Start({});
  AwaitLoads(*manager);
  const auto held = *manager->Acquire("a", "");
  manager->Drain();
  EXPECT_EQ(manager->Acquire("a", "").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(manager->IsReady());
  EXPECT_EQ(manager->Index()[0].state, ModelState::kDraining);
  auto task = std::make_unique<InferTask>();
  EXPECT_EQ(held->Enqueue(task).code(), absl::StatusCode::kUnavailable);
}

TEST_F(ModelManagerTest, CloseStopsFurtherLoads) {
  directory_.Write("a.onnx");
  directory_.Write("b.onnx");
  gate_.Close();
  const auto manager = Start({});
  gate_.AwaitArrivals(1);
  manager->Close();
  gate_.Open();
  AwaitLoads(*manager);
  EXPECT_EQ(manager->Index()[0].state, ModelState::kDraining);
  EXPECT_EQ(manager->Index()[1].state, ModelState::kLoading);
  EXPECT_THAT(manager->Ready(), IsEmpty());
}

TEST_F(ModelManagerTest, LoadedModelShowsInMetrics) {
  directory_.Write("m.onnx");
  const auto manager = Start({});
  AwaitLoads(*manager);
  const std::string text = metrics_.Scrape();
  EXPECT_THAT(
      text,
      HasSubstr("octet_model_info{asked=\"auto\",mode=\"int8\",model=\"m\",version=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_memory_saved_bytes{model=\"m\",version=\"1\"} 3000\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_quantization_seconds{model=\"m\",version=\"1\"} 0.5\n"));
}

}  // namespace
}  // namespace octet::server
