// Loads models in the background, and finds the one that a request names.

#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "runtime/compiled_model.h"
#include "server/batching/batch_queue.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_repository.h"
#include "server/models/model_version.h"
#include "server/models/servable_model.h"

namespace octet::server {

enum class ModelState : uint8_t { kLoading, kReady, kDraining, kUnloaded, kFailed };

// Told by a loader what it is doing, in words for people: "calibrating, 40 %".
using ProgressFn = std::function<void(absl::string_view what)>;

// From a file to a model that can run. Called on load threads.
using ModelLoader = std::function<absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>>(
    const ModelSource& source, const ProgressFn& progress)>;

struct ModelSettings {
  VersionSelection versions;
  BatchingPolicy batching;
};

// A model that the configuration names. Without a path it is one of the repository's, and the entry
// only overrides its settings.
struct ConfiguredModel {
  std::string name;
  std::filesystem::path path;
  ModelSettings settings;
};

struct ModelManagerOptions {
  std::filesystem::path repository;  // a folder, or one .onnx file; empty: none
  std::vector<ConfiguredModel> models;
  ModelSettings defaults;        // of models that are not named
  bool strict_readiness = true;  // a model that failed to load keeps the server unready
  int load_threads = 1;
  // The largest request that the server accepts, for a warning where a full batch is larger; 0:
  // any.
  int64_t max_request_bytes = 0;
  ModelLoader loader;
  // Called on each stream's thread when it starts; may be empty.
  std::function<void(const ModelSource& source, int stream)> on_stream_start;
};

// A model version as RepositoryIndex shows it.
struct ModelStatus {
  std::string name;
  std::string version;  // "" if no version is known
  ModelState state = ModelState::kLoading;
  std::string reason;  // why it failed, or what its loader is doing
};

// Thread-safe. Acquire() is on the way of every request: one short lock and one look-up.
class ModelManager {
 public:
  // Finds the models, and loads none yet. Fails if the repository cannot be read; a model that
  // cannot be loaded is no failure here, but a ModelStatus. `metrics` outlives the manager.
  static absl::StatusOr<std::unique_ptr<ModelManager>> Create(ModelManagerOptions options,
                                                              MetricsRegistry& metrics);

  // Loads in the background, in the order of names. Called once. `on_change` is called on load
  // threads after each load, and may be empty.
  void StartLoading(std::function<void()> on_change = {});

  // Waits for a load that is under way.
  ~ModelManager();

  ModelManager(const ModelManager&) = delete;
  ModelManager& operator=(const ModelManager&) = delete;

  // The model for a request; holding it keeps it in memory. `version` as in ParseRequestedVersion.
  //   InvalidArgument     the version is not an integer
  //   NotFound            no such model or version
  //   Unavailable         loading or draining
  //   FailedPrecondition  failed to load; the message says why
  absl::StatusOr<std::shared_ptr<ServableModel>> Acquire(absl::string_view name,
                                                         absl::string_view version) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Models that are ready: all of them, or all versions of the one named.
  std::vector<std::shared_ptr<ServableModel>> Ready(absl::string_view name = "") const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Every version, by name and version.
  std::vector<ModelStatus> Index() const ABSL_LOCKS_EXCLUDED(mutex_);

  // The versions that keep the server from being ready, with reasons. Empty: ready, if not closed.
  std::vector<ModelStatus> Unready() const ABSL_LOCKS_EXCLUDED(mutex_);

  bool closed() const ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsReady() const { return !closed() && Unready().empty(); }

  // True when no load is under way or waiting; waits until `deadline` for that.
  bool AwaitLoads(absl::Time deadline) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes a version out of service: finishes what it has accepted, frees it, removes its series.
  // NotFound if there is no such version that is ready.
  absl::Status Unload(absl::string_view name, int64_t version) ABSL_LOCKS_EXCLUDED(mutex_);

  // No requests and no loads from here on. What models have accepted is still run. Does not wait.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

  // After Close(): true when all models have answered what they accepted; waits until `deadline`
  // for that.
  bool AwaitDrained(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Closes, and returns when all models have answered what they accepted. Does not wait for loads.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Version {
    ModelSource source;
    ModelSettings settings;
    ModelState state = ModelState::kLoading;
    std::string reason;
    std::shared_ptr<ServableModel> servable;  // while ready or draining
  };
  // By version, newest first.
  using Versions = std::map<int64_t, Version, std::greater<>>;

  ModelManager(ModelManagerOptions options, MetricsRegistry& metrics);

  void Add(const RepositoryModel& model, const ModelSettings& settings)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddAll() ABSL_LOCKS_EXCLUDED(mutex_);
  void RunLoads() ABSL_LOCKS_EXCLUDED(mutex_);
  void Load(Version& version) ABSL_LOCKS_EXCLUDED(mutex_);
  void WarnOfLargeBatches(const ServableModel& model) const;
  absl::StatusOr<std::shared_ptr<ServableModel>> LoadServable(const Version& version,
                                                              const ProgressFn& progress);
  std::vector<std::shared_ptr<ServableModel>> Servables() const ABSL_LOCKS_EXCLUDED(mutex_);

  const ModelManagerOptions options_;
  MetricsRegistry& metrics_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  absl::flat_hash_map<std::string, Versions> models_ ABSL_GUARDED_BY(mutex_);
  std::deque<Version*> to_load_ ABSL_GUARDED_BY(mutex_);
  int loading_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

  std::function<void()> on_change_;
  std::vector<std::thread> load_threads_;
};

}  // namespace octet::server
