// Loads models in the background, replaces them while they are served, and finds the one that a
// request names.

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
#include "server/metrics/metrics_registry.h"
#include "server/models/model_plan.h"
#include "server/models/servable_model.h"

namespace octet::server {

enum class ModelState : uint8_t { kLoading, kReady, kDraining, kUnloaded, kFailed };

// Told by a loader what it is doing, in words for people: "calibrating, 40 %".
using ProgressFn = std::function<void(absl::string_view what)>;

// From a file to a model that can run. Called on load threads.
using ModelLoader = std::function<absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>>(
    const ModelSource& source, const ProgressFn& progress)>;

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
  // Why it failed, or what its loader is doing. One that is ready may have a reason too: what
  // became of a load that was to replace it.
  std::string reason;
  bool added_later = false;  // by Update(): readiness does not wait for it
};

// Thread-safe. Acquire() is on the way of every request: one short lock and one look-up.
class ModelManager {
 public:
  // Finds the models, and loads none yet. Fails if the repository cannot be read; a model that
  // cannot be loaded is no failure here, but a ModelStatus. `metrics` outlives the manager.
  static absl::StatusOr<std::unique_ptr<ModelManager>> Create(ModelManagerOptions options,
                                                              MetricsRegistry& metrics);

  // Loads in the background, in the order of names. Called once. `on_change` is called on load
  // threads after each load and each removal, and may be empty.
  void StartLoading(std::function<void()> on_change = {});

  // Takes over what `options` say of the models to serve (repository, models, defaults, loader);
  // the rest of them stays as it was. Versions whose fingerprint or file is another are loaded
  // again in the background, one after the other: the old one serves until the new one is warm,
  // then finishes what it has accepted; if the new one does not load, the old one stays. Versions
  // that are new are loaded, those that are gone drain when the others have been loaded. The rest
  // is not touched. Errors are PlanModels()', or Unavailable when closed, and leave everything as
  // it was.
  // With `done`, the model `reload` is then loaded again as by Reload(); `done` is called only if
  // this returns OK.
  using ReloadDone = std::function<void(const absl::Status&)>;
  absl::Status Update(const ModelManagerOptions& options, absl::string_view reload = "",
                      const ReloadDone& done = {}) ABSL_LOCKS_EXCLUDED(mutex_);

  // Loads all versions of a model again, changed or not. `done` is called once, here or on a load
  // thread: NotFound if there is no such model, FailedPrecondition if its files are not there,
  // Unavailable when closed, else what the loads say.
  void Reload(absl::string_view name, const ReloadDone& done) ABSL_LOCKS_EXCLUDED(mutex_);

  // Loads a version that is served once more in the background, by this loader, and lets what comes
  // of it take the place of what serves, if it loads. Any other load of the version makes it
  // obsolete: the loader is dropped. Returns false, and does nothing, if the version is not served,
  // or is to be loaded with other settings.
  bool Replace(const ModelSource& source, ModelLoader loader) ABSL_LOCKS_EXCLUDED(mutex_);

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
  // A call of Reload(): tells its caller when the last version is loaded. Guarded by mutex_.
  struct PendingReload {
    int versions = 0;
    absl::Status status;  // the first error
    ReloadDone done;
  };

  // What one load goes by.
  struct LoadOrder {
    ModelSource source;
    ModelSettings settings;
    std::shared_ptr<const ModelLoader> loader;

    bool SameAs(const LoadOrder& other) const {
      return source.file == other.source.file && settings.fingerprint == other.settings.fingerprint;
    }
  };

  // Guarded by mutex_.
  struct Version {
    LoadOrder wanted;
    LoadOrder serving;  // what `servable` was loaded by
    ModelState state = ModelState::kLoading;
    std::string reason;
    std::shared_ptr<ServableModel> servable;              // while ready or draining
    std::shared_ptr<ServableModel> replaced;              // until it has answered what it accepted
    std::vector<std::shared_ptr<PendingReload>> reloads;  // that wait for the next load
    std::shared_ptr<const ModelLoader> replacement;       // of Replace(); null: none
    bool loading = false;                                 // on a load thread
    bool forced = false;                                  // to be loaded even if nothing changed
    bool leaving = false;                                 // no longer wanted
    bool added_later = false;
  };
  using VersionPtr = std::shared_ptr<Version>;
  // By version, newest first.
  using Versions = std::map<int64_t, VersionPtr, std::greater<>>;

  ModelManager(ModelManagerOptions options, MetricsRegistry& metrics);

  void Take(const std::vector<PlannedVersion>& plan, const ModelLoader& loader, bool added_later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Want(LoadOrder order, const std::string& problem, Version& version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status QueueReload(absl::string_view name, const ReloadDone& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Queue(const VersionPtr& version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  VersionPtr NextToLoad() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void RunLoads() ABSL_LOCKS_EXCLUDED(mutex_);
  void Load(const VersionPtr& version) ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<ServableModel> Publish(const LoadOrder& order,
                                         absl::StatusOr<std::shared_ptr<ServableModel>> loaded,
                                         Version& version) ABSL_LOCKS_EXCLUDED(mutex_);
  void Retire(const VersionPtr& version, std::shared_ptr<ServableModel> replaced)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveLeaving() ABSL_LOCKS_EXCLUDED(mutex_);
  // The first `reloads` of those that wait for a load of the version, which has ended.
  std::vector<std::shared_ptr<PendingReload>> EndLoad(size_t reloads, Version& version)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void FinishReloads(const std::vector<std::shared_ptr<PendingReload>>& reloads,
                     const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void WarnOfLargeBatches(const ServableModel& model) const;
  absl::StatusOr<std::shared_ptr<ServableModel>> LoadServable(
      const LoadOrder& order, const std::shared_ptr<ServableModel>& predecessor, bool background,
      const ProgressFn& progress);
  std::vector<std::shared_ptr<ServableModel>> Servables() const ABSL_LOCKS_EXCLUDED(mutex_);

  const ModelManagerOptions options_;
  MetricsRegistry& metrics_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  absl::flat_hash_map<std::string, Versions> models_ ABSL_GUARDED_BY(mutex_);
  std::deque<VersionPtr> to_load_ ABSL_GUARDED_BY(mutex_);
  bool remove_leaving_ ABSL_GUARDED_BY(mutex_) = false;
  int loading_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

  std::function<void()> on_change_;
  std::vector<std::thread> load_threads_;
};

}  // namespace octet::server
