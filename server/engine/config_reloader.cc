#include "server/engine/config_reloader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "server/config/config_changes.h"
#include "server/config/config_file.h"
#include "server/log.h"
#include "server/models/quote.h"

namespace octet::server {

ConfigReloader::ConfigReloader(ServeOptions start, ToModels to_models)
    : file_(std::move(start.file)),
      flags_(std::move(start.flags)),
      to_models_(std::move(to_models)),
      config_(std::move(start.config)) {}

void ConfigReloader::Attach(ModelManager& models, MetricsRegistry& metrics) {
  const MutexLock lock(mutex_);
  models_ = &models;
  metrics_ = &metrics;
}

absl::StatusOr<Config> ConfigReloader::Resolve(const std::string& text) const {
  LoadedConfig loaded;
  if (file_.empty()) {
    OCTET_ASSIGN_OR_RETURN(loaded, LoadConfig("", flags_));
  } else {
    OCTET_ASSIGN_OR_RETURN(loaded, ParseConfig(text, file_, flags_));
  }
  OCTET_RETURN_IF_ERROR(Annotate(CheckServable(loaded.config), file_));
  return std::move(loaded.config);
}

absl::Status ConfigReloader::Refuse(ConfigReload result, const absl::Status& why) {
  LogError("the configuration is not taken up: everything stays as it is",
           {{"file", file_}, {"reason", why.message()}});
  metrics_->CountConfigReload(result);
  return why;
}

void ConfigReloader::LogChanges(const Config& config) {
  std::vector<std::string> restart;
  for (const SettingChange& change : ChangedSettings(config_, config)) {
    if (NeedsRestart(change.path)) {
      restart.push_back(absl::StrCat(change.path, ": ", change.before, " -> ", change.after));
    } else {
      LogInfo("setting changed",
              {{"setting", change.path}, {"before", change.before}, {"after", change.after}});
    }
  }
  std::string line = absl::StrJoin(restart, ", ");
  if (line == restart_log_) return;
  restart_log_ = std::move(line);
  if (restart.empty()) return;
  LogWarning("these settings take effect when the server is started again",
             {{"settings", restart_log_}});
}

absl::Status ConfigReloader::Take(const absl::StatusOr<std::string>& text,
                                  const std::string& reload, const ModelManager::ReloadDone& done) {
  if (models_ == nullptr) return absl::UnavailableError("the server is starting");
  if (!text.ok()) return Refuse(ConfigReload::kRejected, text.status());
  absl::StatusOr<Config> resolved = Resolve(*text);
  if (!resolved.ok()) return Refuse(ConfigReload::kRejected, resolved.status());
  LogChanges(*resolved);
  Config config = *std::move(resolved);
  config.model_repository = config_.model_repository;
  config.server = config_.server;
  config.log = config_.log;

  Config overridden = config;
  for (auto entry = overrides_.begin(); entry != overrides_.end();) {
    const absl::Status status = OverrideModel(entry->first, entry->second, overridden);
    if (!status.ok()) {
      LogWarning("a model's settings no longer fit the configuration and are dropped",
                 {{"model", entry->first}, {"reason", status.message()}});
    }
    entry = status.ok() ? std::next(entry) : overrides_.erase(entry);
  }
  const absl::Status status = models_->Update(to_models_(overridden), reload, done);
  if (!status.ok()) return Refuse(ConfigReload::kFailed, status);
  config_ = std::move(config);
  metrics_->CountConfigReload(ConfigReload::kOk);
  LogInfo("the configuration has been taken up", {{"file", file_}});
  return absl::OkStatus();
}

absl::Status ConfigReloader::Apply(const absl::StatusOr<std::string>& text) {
  const MutexLock lock(mutex_);
  return Take(text);
}

absl::Status ConfigReloader::SetOverride(const std::string& model,
                                         const std::optional<std::string>& config) {
  if (!config.has_value()) {
    overrides_.erase(model);
    return absl::OkStatus();
  }
  Config scratch = config_;
  OCTET_RETURN_IF_ERROR(OverrideModel(model, *config, scratch));
  overrides_[model] = *config;
  return absl::OkStatus();
}

bool ConfigReloader::Knows(const std::string& model) const {
  if (models_ == nullptr) return false;
  const std::vector<ModelStatus> index = models_->Index();
  return std::any_of(index.begin(), index.end(),
                     [&](const ModelStatus& entry) { return entry.name == model; });
}

void ConfigReloader::LoadModel(const std::string& model, const std::optional<std::string>& config,
                               const ModelManager::ReloadDone& done) {
  absl::Status status;
  {
    const MutexLock lock(mutex_);
    const absl::StatusOr<std::string> text =
        file_.empty() ? absl::StatusOr<std::string>("") : ReadConfigText(file_);
    const std::map<std::string, std::string> previous = overrides_;
    // It may be new in the file or in the repository.
    if (!Knows(model)) status = Take(text);
    if (status.ok() && !Knows(model)) {
      status = absl::NotFoundError(absl::StrCat("model ", Quote(model), " is not on this server"));
    }
    if (status.ok()) status = SetOverride(model, config);
    if (status.ok()) {
      status = Take(text, model, done);
      if (absl::IsInvalidArgument(status)) {
        status = absl::FailedPreconditionError(
            absl::StrCat("the server's configuration is not valid: ", status.message()));
      }
    }
    if (!status.ok()) overrides_ = previous;
  }
  if (!status.ok()) done(status);
}

}  // namespace octet::server
