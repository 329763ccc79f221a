#include "server/engine/config_reloader.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_changes.h"
#include "tests/support/fake_model.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ConfigReloaderTest : public ::testing::Test {
 protected:
  void Start(const std::string& text) {
    for (const char* model : {"a", "b"}) directory_.Write("models/" + std::string(model) + ".onnx");
    const std::string file = directory_.Write("octet.yaml", Text(text)).string();
    ServeOptions options{.file = file, .text = Text(text)};
    auto loaded = ParseConfig(options.text, file);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    options.config = loaded->config;
    models_ = *ModelManager::Create(ToModels(options.config), metrics_);
    models_->StartLoading();
    reloader_ = std::make_unique<ConfigReloader>(
        options, [this](const Config& config) { return ToModels(config); });
    reloader_->Attach(*models_, metrics_);
    EXPECT_THAT(Loads(), UnorderedElementsAre("a", "b"));
  }

  static std::string Text(const std::string& text) { return "model_repository: models\n" + text; }

  ModelManagerOptions ToModels(const Config& config) {
    ModelManagerOptions options{.repository = directory_.path() / "models"};
    options.defaults.fingerprint = LoadedSettings(config.ForModel(""));
    for (const ModelConfig& model : config.models) {
      options.models.push_back({model.name, model.path, {.fingerprint = LoadedSettings(model)}});
    }
    options.loader = [this, config](const ModelSource& source, const ProgressFn&)
        -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
      const MutexLock lock(mutex_);
      loads_.push_back(source.name);
      if (config.ForModel(source.name).quantization.accuracy.target.value.value_or(0) > 90) {
        return absl::FailedPreconditionError("the accuracy target cannot be reached");
      }
      return FakeModel::Sums();
    };
    return options;
  }

  // What has been loaded since the last call.
  std::vector<std::string> Loads() {
    EXPECT_TRUE(models_->AwaitLoads(absl::InfiniteFuture()));
    const MutexLock lock(mutex_);
    return std::exchange(loads_, {});
  }

  absl::Status Apply(const std::string& text) { return reloader_->Apply(Text(text)); }

  absl::Status Load(const std::string& model, const std::optional<std::string>& config = {}) {
    absl::Status result = absl::UnknownError("never called");
    bool called = false;
    Mutex mutex;
    CondVar changed;
    reloader_->LoadModel(model, config, [&](const absl::Status& status) {
      const MutexLock lock(mutex);
      EXPECT_FALSE(called);
      result = status;
      called = true;
      changed.NotifyAll();
    });
    const MutexLock lock(mutex);
    while (!called) changed.Wait(mutex);
    return result;
  }

  double Count(const std::string& series) {
    const std::string text = metrics_.Scrape();
    const size_t at = text.find("\n" + series + " ");
    EXPECT_NE(at, std::string::npos) << series;
    return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 2));
  }

  TemporaryDirectory directory_;
  MetricsRegistry metrics_;
  Mutex mutex_;
  std::vector<std::string> loads_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ModelManager> models_;
  std::unique_ptr<ConfigReloader> reloader_;
};

TEST_F(ConfigReloaderTest, OnlyModelsWhoseSettingsChangedAreLoaded) {
  Start("");
  ASSERT_TRUE(Apply("models: [{name: a, quantization: {mode: int8}}]").ok());
  EXPECT_THAT(Loads(), UnorderedElementsAre("a"));
  ASSERT_TRUE(Apply("quantization: {mode: int8}").ok());
  EXPECT_THAT(Loads(), UnorderedElementsAre("b"));
  ASSERT_TRUE(Apply("quantization: {mode: int8}\nserver: {drain_seconds: 3}\n").ok());
  EXPECT_THAT(Loads(), IsEmpty());
  EXPECT_EQ(Count("octet_config_reload_total{result=\"ok\"}"), 3);
}

TEST_F(ConfigReloaderTest, AnInvalidFileChangesNothing) {
  Start("");
  EXPECT_THAT(Apply("quantization: {mode: int7}").message(), HasSubstr("octet.yaml:line 2"));
  EXPECT_FALSE(reloader_->Apply(absl::NotFoundError("octet.yaml: gone")).ok());
  EXPECT_FALSE(reloader_->Apply(std::string("batching: {}")).ok()) << "nothing to serve";
  EXPECT_THAT(Loads(), IsEmpty());
  EXPECT_EQ(Count("octet_config_reload_total{result=\"rejected\"}"), 3);
  EXPECT_TRUE(models_->Acquire("a", "").ok());
}

TEST_F(ConfigReloaderTest, WhatCannotBeTakenUpIsCountedAsFailed) {
  Start("");
  TemporaryDirectory elsewhere;
  const std::string other = elsewhere.Write("a.onnx").string();
  EXPECT_THAT(Apply("models: [{name: a, path: " + other + "}]").message(),
              HasSubstr("two models named"));
  EXPECT_EQ(Count("octet_config_reload_total{result=\"failed\"}"), 1);
  EXPECT_THAT(Loads(), IsEmpty());
}

TEST_F(ConfigReloaderTest, AModelIsLoadedOnRequest) {
  Start("");
  EXPECT_TRUE(Load("a").ok());
  EXPECT_THAT(Loads(), UnorderedElementsAre("a")) << "though nothing changed";
  EXPECT_EQ(Load("c").code(), absl::StatusCode::kNotFound);
  directory_.Write("models/c.onnx");
  EXPECT_TRUE(Load("c").ok()) << "new in the repository";
}

TEST_F(ConfigReloaderTest, ALoadTakesTheFileUpFirst) {
  Start("");
  directory_.Write("octet.yaml", Text("quantization: {mode: int7}"));
  EXPECT_EQ(Load("a").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Loads(), IsEmpty());
  directory_.Write("octet.yaml", Text("quantization: {mode: int8}"));
  EXPECT_TRUE(Load("a").ok());
  EXPECT_THAT(Loads(), UnorderedElementsAre("a", "b"));
}

TEST_F(ConfigReloaderTest, ALoadMayBringSettings) {
  Start("");
  EXPECT_THAT(Load("a", R"({"quantization": {"mode": "int7"}})").message(), HasSubstr("int7"));
  EXPECT_EQ(Load("a", R"({"path": "/etc"})").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Loads(), IsEmpty());
  EXPECT_TRUE(Load("a", R"({"quantization": {"mode": "int8"}})").ok());
  EXPECT_THAT(Loads(), UnorderedElementsAre("a"));
  ASSERT_TRUE(Apply("batching: {max_batch_size: 32}").ok());
  EXPECT_THAT(Loads(), IsEmpty()) << "the settings outlive a change of the file";
  const absl::Status guard = Load("a", R"({"quantization": {"accuracy": {"target": 95}}})");
  EXPECT_THAT(guard.message(), HasSubstr("accuracy target"));
  EXPECT_TRUE(models_->Acquire("a", "").ok()) << "the old one stays";
  EXPECT_TRUE(Load("a").ok());
}

TEST_F(ConfigReloaderTest, RefusesBeforeTheServerIsThere) {
  ConfigReloader reloader({}, [](const Config&) { return ModelManagerOptions{}; });
  EXPECT_EQ(reloader.Apply(std::string()).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace octet::server
