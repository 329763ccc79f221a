#include "server/models/model_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/log.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

std::string VersionText(int64_t version) {
  return version == kNoVersion ? "" : absl::StrCat(version);
}

}  // namespace

ModelManager::ModelManager(ModelManagerOptions options, MetricsRegistry& metrics)
    : options_(std::move(options)), metrics_(metrics) {}

absl::StatusOr<std::unique_ptr<ModelManager>> ModelManager::Create(ModelManagerOptions options,
                                                                   MetricsRegistry& metrics) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<PlannedVersion> plan,
                         PlanModels(options.repository, options.models, options.defaults));
  std::unique_ptr<ModelManager> manager(new ModelManager(std::move(options), metrics));
  const MutexLock lock(manager->mutex_);
  manager->Take(plan, manager->options_.loader, false);
  return manager;
}

void ModelManager::StartLoading(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  for (int i = 0; i < std::max(1, options_.load_threads); ++i) {
    load_threads_.emplace_back(&ModelManager::RunLoads, this);
  }
}

ModelManager::~ModelManager() {
  Drain();
  for (std::thread& thread : load_threads_) thread.join();
}

void ModelManager::Queue(const VersionPtr& version) {
  if (std::find(to_load_.begin(), to_load_.end(), version) == to_load_.end()) {
    to_load_.push_back(version);
  }
  if (version->servable == nullptr) version->state = ModelState::kLoading;
}

// A version that serves goes on serving, whatever is wrong with what is to replace it.
void ModelManager::Want(LoadOrder order, const std::string& problem, Version& version) {
  version.wanted = std::move(order);
  if (problem.empty()) return;
  const ModelSource& source = version.wanted.source;
  LogError("model cannot be loaded",
           {{"model", source.name}, {"version", VersionText(source.version)}, {"reason", problem}});
  const bool serves = version.state == ModelState::kReady;
  version.reason = serves ? absl::StrCat("serves as before: ", problem) : problem;
  if (!serves) version.state = ModelState::kFailed;
}

void ModelManager::Take(const std::vector<PlannedVersion>& plan, const ModelLoader& loader,
                        bool added_later) {
  const auto shared_loader = std::make_shared<const ModelLoader>(loader);
  for (auto& [name, versions] : models_) {
    for (auto& [number, version] : versions) version->leaving = true;
  }
  for (const PlannedVersion& planned : plan) {
    VersionPtr& version = models_[planned.source.name][planned.source.version];
    const bool added = version == nullptr;
    if (added) version = std::make_shared<Version>();
    version->added_later |= added && added_later;
    version->leaving = false;
    LoadOrder order{planned.source, planned.settings, shared_loader};
    if (!added && order.SameAs(version->wanted)) {
      // It may have been taken off the queue when it was not wanted for a while.
      if (version->state == ModelState::kLoading && !version->loading) Queue(version);
      continue;
    }
    Want(std::move(order), planned.problem, *version);
    if (planned.problem.empty()) Queue(version);
  }
  for (const auto& [name, versions] : models_) {
    for (const auto& [number, version] : versions) {
      if (!version->leaving) continue;
      remove_leaving_ = true;
      std::erase(to_load_, version);
    }
  }
}

absl::Status ModelManager::Update(const ModelManagerOptions& options, absl::string_view reload,
                                  const ReloadDone& done) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<PlannedVersion> plan,
                         PlanModels(options.repository, options.models, options.defaults));
  absl::Status refused;
  {
    const MutexLock lock(mutex_);
    if (closed_) return absl::UnavailableError("the server is draining");
    Take(plan, options.loader, true);
    if (done) refused = QueueReload(reload, done);
  }
  changed_.NotifyAll();
  if (!refused.ok()) done(refused);
  return absl::OkStatus();
}

void ModelManager::Reload(absl::string_view name, const ReloadDone& done) {
  absl::Status refused = absl::UnavailableError("the server is draining");
  {
    const MutexLock lock(mutex_);
    if (!closed_) refused = QueueReload(name, done);
  }
  changed_.NotifyAll();
  if (!refused.ok()) done(refused);
}

bool ModelManager::Replace(const ModelSource& source, ModelLoader loader) {
  {
    const MutexLock lock(mutex_);
    if (closed_) return false;
    const auto found = models_.find(source.name);
    if (found == models_.end()) return false;
    const auto entry = found->second.find(source.version);
    if (entry == found->second.end()) return false;
    const VersionPtr& version = entry->second;
    if (version->leaving || version->state != ModelState::kReady) return false;
    if (!version->wanted.SameAs(version->serving)) return false;  // something else is on its way
    version->replacement = std::make_shared<const ModelLoader>(std::move(loader));
    Queue(version);
  }
  changed_.NotifyAll();
  return true;
}

absl::Status ModelManager::QueueReload(absl::string_view name, const ReloadDone& done) {
  const auto found = models_.find(name);
  std::vector<VersionPtr> versions;
  if (found != models_.end()) {
    for (const auto& [number, version] : found->second) {
      if (version->leaving) continue;
      if (version->wanted.source.file.empty()) {
        return absl::FailedPreconditionError(absl::StrCat(
            "model ", Quote(name), " version ", VersionText(number), ": ", version->reason));
      }
      versions.push_back(version);
    }
  }
  if (versions.empty()) {
    return absl::NotFoundError(absl::StrCat("model ", Quote(name), " is not on this server"));
  }
  const auto reload = std::make_shared<PendingReload>();
  reload->versions = static_cast<int>(versions.size());
  reload->done = done;
  for (const VersionPtr& version : versions) {
    version->forced = true;
    version->reloads.push_back(reload);
    if (version->state == ModelState::kUnloaded) version->state = ModelState::kLoading;
    Queue(version);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ServableModel>> ModelManager::Acquire(
    absl::string_view name, absl::string_view version) const {
  OCTET_ASSIGN_OR_RETURN(const std::optional<int64_t> wanted, ParseRequestedVersion(version));
  const MutexLock lock(mutex_);
  const auto found = models_.find(name);
  if (found == models_.end()) {
    return absl::NotFoundError(absl::StrCat("model ", Quote(name), " is not on this server"));
  }
  const Versions& versions = found->second;
  const Version* best = nullptr;
  if (wanted.has_value()) {
    const auto entry = versions.find(*wanted);
    if (entry == versions.end() || *wanted == kNoVersion) {
      return absl::NotFoundError(
          absl::StrCat("model ", Quote(name), " has no version ", *wanted, " on this server"));
    }
    best = entry->second.get();
  } else {
    // The newest that is ready; failing that, the newest that may become so.
    for (const auto& [number, entry] : versions) {
      if (entry->state == ModelState::kReady) {
        best = entry.get();
        break;
      }
      if (best == nullptr ||
          (best->state == ModelState::kFailed && entry->state == ModelState::kLoading)) {
        best = entry.get();
      }
    }
  }
  if (closed_) return absl::UnavailableError("the server is draining and takes no new requests");
  if (best != nullptr && best->state == ModelState::kReady) return best->servable;
  const int64_t number = best != nullptr ? best->wanted.source.version : kNoVersion;
  const std::string which = absl::StrCat(
      "model ", Quote(name), number != kNoVersion ? absl::StrCat(" version ", number) : "");
  if (best == nullptr || best->state == ModelState::kUnloaded) {
    return absl::NotFoundError(absl::StrCat(which, " is unloaded"));
  }
  if (best->state == ModelState::kFailed) {
    return absl::FailedPreconditionError(absl::StrCat(which, " failed to load: ", best->reason));
  }
  return absl::UnavailableError(
      absl::StrCat(which, best->state == ModelState::kLoading ? " is loading" : " is draining"));
}

std::vector<std::shared_ptr<ServableModel>> ModelManager::Ready(absl::string_view name) const {
  std::vector<std::shared_ptr<ServableModel>> ready;
  {
    const MutexLock lock(mutex_);
    for (const auto& [model, versions] : models_) {
      if (!name.empty() && name != model) continue;
      for (const auto& [number, version] : versions) {
        if (version->state == ModelState::kReady) ready.push_back(version->servable);
      }
    }
  }
  std::sort(ready.begin(), ready.end(), [](const auto& a, const auto& b) {
    return std::pair(a->name(), a->version()) < std::pair(b->name(), b->version());
  });
  return ready;
}

std::vector<ModelStatus> ModelManager::Index() const {
  std::map<std::pair<std::string, int64_t>, ModelStatus> sorted;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, versions] : models_) {
      for (const auto& [number, version] : versions) {
        sorted[{name, number}] = {.name = name,
                                  .version = VersionText(number),
                                  .state = version->state,
                                  .reason = version->reason,
                                  .added_later = version->added_later};
      }
    }
  }
  std::vector<ModelStatus> index;
  index.reserve(sorted.size());
  for (auto& [key, status] : sorted) index.push_back(std::move(status));
  return index;
}

std::vector<ModelStatus> ModelManager::Unready() const {
  std::vector<ModelStatus> index = Index();
  std::erase_if(index, [this](const ModelStatus& status) {
    return status.state == ModelState::kReady || status.state == ModelState::kUnloaded ||
           status.added_later ||
           (status.state == ModelState::kFailed && !options_.strict_readiness);
  });
  return index;
}

bool ModelManager::closed() const {
  const MutexLock lock(mutex_);
  return closed_;
}

bool ModelManager::AwaitLoads(absl::Time deadline) const {
  const MutexLock lock(mutex_);
  while (((!to_load_.empty() || remove_leaving_) && !closed_) || loading_ > 0) {
    if (absl::Now() >= deadline) return false;
    changed_.WaitUntil(mutex_, deadline);
  }
  return true;
}

absl::Status ModelManager::Unload(absl::string_view name, int64_t version) {
  VersionPtr unloaded;
  std::shared_ptr<ServableModel> servable;
  {
    const MutexLock lock(mutex_);
    const auto found = models_.find(name);
    if (found != models_.end() && found->second.contains(version)) {
      unloaded = found->second.find(version)->second;
    }
    if (unloaded == nullptr || unloaded->state != ModelState::kReady) {
      return absl::NotFoundError(
          absl::StrCat("model ", Quote(name), " has no version ", version, " that is ready"));
    }
    unloaded->state = ModelState::kDraining;
    servable = unloaded->servable;
    // Nothing is left that Replace() could replace.
    const bool replaces = std::exchange(unloaded->replacement, nullptr) != nullptr;
    if (replaces && !unloaded->forced && unloaded->wanted.SameAs(unloaded->serving)) {
      std::erase(to_load_, unloaded);
    }
  }
  servable->Drain();
  {
    const MutexLock lock(mutex_);
    unloaded->state = ModelState::kUnloaded;
    unloaded->servable.reset();
  }
  LogInfo("model unloaded", {{"model", name}, {"version", version}});
  return absl::OkStatus();
}

std::vector<std::shared_ptr<ServableModel>> ModelManager::Servables() const {
  std::vector<std::shared_ptr<ServableModel>> servables;
  const MutexLock lock(mutex_);
  for (const auto& [name, versions] : models_) {
    for (const auto& [number, version] : versions) {
      if (version->servable != nullptr) servables.push_back(version->servable);
      if (version->replaced != nullptr) servables.push_back(version->replaced);
    }
  }
  return servables;
}

void ModelManager::Close() {
  std::vector<std::shared_ptr<PendingReload>> reloads;
  {
    const MutexLock lock(mutex_);
    closed_ = true;
    for (auto& [name, versions] : models_) {
      for (auto& [number, version] : versions) {
        if (version->state == ModelState::kReady) version->state = ModelState::kDraining;
        reloads.insert(reloads.end(), version->reloads.begin(), version->reloads.end());
        version->reloads.clear();
      }
    }
  }
  changed_.NotifyAll();
  FinishReloads(reloads, absl::UnavailableError("the server is draining"));
  for (const auto& servable : Servables()) servable->Close();
}

bool ModelManager::AwaitDrained(absl::Time deadline) {
  bool drained = true;
  for (const auto& servable : Servables()) drained = servable->AwaitDrained(deadline) && drained;
  return drained;
}

void ModelManager::Drain() {
  Close();
  for (const auto& servable : Servables()) servable->Drain();
}

}  // namespace octet::server
