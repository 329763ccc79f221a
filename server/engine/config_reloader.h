// Brings a running server to what its configuration file says by now.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "server/commands/serve.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"

namespace octet::server {

// Thread-safe. Only what concerns models can change: of other settings that differ a warning says
// that they need a restart. A configuration that is not valid changes nothing.
class ConfigReloader {
 public:
  // What of the manager's options comes from the configuration: the models, and how to load them.
  using ToModels = std::function<ModelManagerOptions(const Config&)>;

  ConfigReloader(ServeOptions start, ToModels to_models);

  // Both outlive the reloader's use. Before this call it refuses everything as Unavailable.
  void Attach(ModelManager& models, MetricsRegistry& metrics) ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes up `text`, the file's content, or says in the log and in the metrics why not. Loads go on
  // in the background. Without a file, the flags are taken up again, and with them what is in the
  // repository now.
  absl::Status Apply(const absl::StatusOr<std::string>& text) ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads the file and takes it up, then loads the model again, changed or not. `config` is set
  // over what the file says of the model (see OverrideModel()) until it is loaded without one.
  // `done` is as in ModelManager::Reload(); InvalidArgument says what is wrong with `config`,
  // FailedPrecondition what is wrong with the file.
  void LoadModel(const std::string& model, const std::optional<std::string>& config,
                 const ModelManager::ReloadDone& done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<Config> Resolve(const std::string& text) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Take(const absl::StatusOr<std::string>& text, const std::string& reload = "",
                    const ModelManager::ReloadDone& done = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Refuse(ConfigReload result, const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Knows(const std::string& model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LogChanges(const Config& config) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SetOverride(const std::string& model, const std::optional<std::string>& config)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string file_;
  const std::vector<FlagValue> flags_;
  const ToModels to_models_;

  Mutex mutex_;
  ModelManager* models_ ABSL_GUARDED_BY(mutex_) = nullptr;
  MetricsRegistry* metrics_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Config config_ ABSL_GUARDED_BY(mutex_);            // in effect
  std::string restart_log_ ABSL_GUARDED_BY(mutex_);  // the last warning, which is not repeated
  std::map<std::string, std::string> overrides_ ABSL_GUARDED_BY(mutex_);  // by model
};

}  // namespace octet::server
