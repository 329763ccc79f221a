// The part of ModelManager that runs on load threads: loading, replacing, removing.

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/log.h"
#include "server/models/background_thread.h"
#include "server/models/model_manager.h"
#include "server/models/quote.h"
#include "server/models/ready_log.h"

namespace octet::server {

// The next version that no other thread is loading; null if there is none.
ModelManager::VersionPtr ModelManager::NextToLoad() {
  const auto next = std::find_if(to_load_.begin(), to_load_.end(),
                                 [](const VersionPtr& version) { return !version->loading; });
  if (next == to_load_.end()) return nullptr;
  VersionPtr version = *next;
  to_load_.erase(next);
  return version;
}

void ModelManager::RunLoads() {
  while (true) {
    VersionPtr version;
    {
      const MutexLock lock(mutex_);
      while (!closed_ && (version = NextToLoad()) == nullptr &&
             !(remove_leaving_ && loading_ == 0)) {
        changed_.Wait(mutex_);
      }
      if (closed_) break;
      if (version != nullptr) {
        version->loading = true;
      } else {
        remove_leaving_ = false;
      }
      ++loading_;
    }
    if (version != nullptr) {
      Load(version);
    } else {
      RemoveLeaving();
    }
    if (on_change_) on_change_();
    {
      const MutexLock lock(mutex_);
      --loading_;
    }
    changed_.NotifyAll();
  }
  changed_.NotifyAll();
}

absl::StatusOr<std::shared_ptr<ServableModel>> ModelManager::LoadServable(
    const LoadOrder& order, const std::shared_ptr<ServableModel>& predecessor, bool background,
    const ProgressFn& progress) {
  absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> model;
  const auto load = [&] { model = (*order.loader)(order.source, progress); };
  if (background) {
    RunInBackground(load);
  } else {
    load();
  }
  OCTET_RETURN_IF_ERROR(model.status());
  progress("starting streams");
  std::function<void(int)> on_stream_start;
  if (options_.on_stream_start) {
    on_stream_start = [this, source = order.source](int stream) {
      options_.on_stream_start(source, stream);
    };
  }
  return ServableModel::Start(order.source, *std::move(model), order.settings.batching,
                              std::move(on_stream_start), metrics_, predecessor);
}

// A batch that clients may send by the model's metadata, and that gRPC would refuse.
void ModelManager::WarnOfLargeBatches(const ServableModel& model) const {
  size_t bytes = 0;
  for (const runtime::TensorSpec& spec : model.model().inputs()) {
    Shape shape = spec.shape;
    if (model.max_batch_size() > 0) shape[0] = model.max_batch_size();
    bytes += CheckedByteSize(spec.dtype, shape).value_or(0);
  }
  const auto limit = static_cast<size_t>(options_.max_request_bytes);
  if (limit == 0 || bytes <= limit) return;
  LogWarning("a full batch exceeds server.max_request_bytes",
             {{"model", model.name()}, {"batch_bytes", bytes}, {"max_request_bytes", limit}});
}

namespace {

void LogFailure(const ModelSource& source, const absl::Status& status, bool serves, bool replaces) {
  const auto log = replaces ? LogWarning : LogError;
  log(!serves    ? "model cannot be loaded"
      : replaces ? "what was to replace the model is not taken: the old one stays"
                 : "model cannot be loaded again: the old one stays",
      {{"model", source.name},
       {"version", source.version},
       {"reason", std::string(status.message())}});
}

}  // namespace

void ModelManager::Load(const VersionPtr& version) {
  LoadOrder order;
  std::shared_ptr<ServableModel> predecessor;
  size_t reloads = 0;  // how many of the version's this load is for
  bool background = false;
  bool needed = false;
  bool replaces = false;  // nobody has asked for this load
  std::shared_ptr<const ModelLoader> replacement;
  {
    const MutexLock lock(mutex_);
    order = version->wanted;
    predecessor = version->servable;
    background = predecessor != nullptr || version->added_later;
    needed = predecessor == nullptr || version->forced || !order.SameAs(version->serving);
    replacement = std::exchange(version->replacement, nullptr);
    replaces = !needed && replacement != nullptr;
    if (replaces) order.loader = std::move(replacement);
    needed |= replaces;
    version->forced = false;
    reloads = version->reloads.size();
    // The settings were put back before they were ever served.
    if (!needed) version->reason.clear();
    if (!needed) version->loading = false;
  }
  if (!needed) return;

  const ModelSource& source = order.source;
  const absl::Time start = absl::Now();
  const auto progress = [&](absl::string_view what) {
    const MutexLock lock(mutex_);
    version->reason =
        predecessor == nullptr ? std::string(what) : absl::StrCat("loading again: ", what);
  };
  LogInfo(predecessor == nullptr ? "model loading" : "model loading again",
          {{"model", source.name}, {"version", source.version}, {"file", source.file.string()}});
  absl::StatusOr<std::shared_ptr<ServableModel>> loaded =
      LoadServable(order, predecessor, background, progress);
  // What the load took for itself goes back to the system; see KeepFreedMemory().
  malloc_trim(0);
  const absl::Status status = loaded.status();
  if (status.ok()) {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    (*loaded)->EnterService(seconds);
    LogReady(**loaded, seconds);
    WarnOfLargeBatches(**loaded);
  } else {
    LogFailure(source, status, predecessor != nullptr, replaces);
  }
  if (predecessor != nullptr) predecessor->metrics().CountSwap(status.ok());
  predecessor.reset();
  if (auto replaced = Publish(order, std::move(loaded), *version)) {
    Retire(version, std::move(replaced));
  }
  FinishReloads(EndLoad(reloads, *version), status);
}

std::vector<std::shared_ptr<ModelManager::PendingReload>> ModelManager::EndLoad(size_t reloads,
                                                                                Version& version) {
  const MutexLock lock(mutex_);
  version.loading = false;
  // Close() may have told them already.
  const auto end =
      version.reloads.begin() + static_cast<ptrdiff_t>(std::min(reloads, version.reloads.size()));
  const std::vector<std::shared_ptr<PendingReload>> finished(version.reloads.begin(), end);
  version.reloads.erase(version.reloads.begin(), end);
  return finished;
}

// Puts what was loaded into service; returns what it takes the place of, or null.
std::shared_ptr<ServableModel> ModelManager::Publish(
    const LoadOrder& order, absl::StatusOr<std::shared_ptr<ServableModel>> loaded,
    Version& version) {
  const MutexLock lock(mutex_);
  if (!loaded.ok()) {
    std::string why(loaded.status().message());
    if (why.empty()) why = loaded.status().ToString();
    const bool serves = version.servable != nullptr;
    version.reason = serves ? absl::StrCat("serves as before: ", why) : why;
    if (!serves) version.state = ModelState::kFailed;
    return nullptr;
  }
  version.reason.clear();
  // Unloaded or closed while its successor was being made, which nobody wants any more.
  if (version.state == ModelState::kDraining || version.state == ModelState::kUnloaded) {
    return nullptr;
  }
  for (const auto& [number, other] : models_[order.source.name]) {
    remove_leaving_ |= other->leaving;
  }
  version.serving = order;
  version.replacement.reset();
  version.replaced = std::exchange(version.servable, *std::move(loaded));
  version.state = closed_ ? ModelState::kDraining : ModelState::kReady;
  if (closed_) version.servable->Close();
  // Found by no request from here on. One that found it before and is too late to be queued looks
  // for its successor.
  if (version.replaced != nullptr) version.replaced->Close();
  return version.replaced;
}

// Waits until `replaced` has answered what it accepted, and frees it.
void ModelManager::Retire(const VersionPtr& version, std::shared_ptr<ServableModel> replaced) {
  replaced->Drain();
  std::shared_ptr<ServableModel> successor;
  {
    const MutexLock lock(mutex_);
    version->replaced.reset();
    successor = version->servable;
  }
  if (successor != nullptr) successor->EndSuccession();
  const std::string before = replaced->model().summary().mode;
  LogInfo("model replaced",
          {{"model", replaced->name()},
           {"version", replaced->version()},
           {"before", before},
           {"after", successor == nullptr ? "" : successor->model().summary().mode}});
  replaced.reset();
  malloc_trim(0);
}

// Takes versions out of service that are no longer wanted. Those whose model has another version
// that is wanted stay until one such is ready.
void ModelManager::RemoveLeaving() {
  std::vector<VersionPtr> leaving;
  {
    const MutexLock lock(mutex_);
    for (auto model = models_.begin(); model != models_.end();) {
      auto& [name, versions] = *model++;
      const auto count = [&versions = versions](auto condition) {
        return std::count_if(versions.begin(), versions.end(), [&](const auto& entry) {
          return !entry.second->leaving && condition(*entry.second);
        });
      };
      const bool wanted = count([](const Version&) { return true; }) > 0;
      const bool ready =
          count([](const Version& version) { return version.state == ModelState::kReady; }) > 0;
      std::erase_if(versions, [&](const auto& entry) {
        Version& version = *entry.second;
        if (!version.leaving) return false;
        if (version.state == ModelState::kReady && wanted && !ready) {
          version.reason = "no longer wanted; stays because no other version could be loaded";
          return false;
        }
        leaving.push_back(entry.second);
        return true;
      });
      if (versions.empty()) models_.erase(std::string(name));
    }
  }
  for (const VersionPtr& version : leaving) {
    const ModelSource& source = version->wanted.source;
    if (version->servable != nullptr) version->servable->Drain();
    version->servable.reset();
    FinishReloads(version->reloads,
                  absl::NotFoundError(absl::StrCat("model ", Quote(source.name), " was removed")));
    LogInfo("model removed", {{"model", source.name}, {"version", source.version}});
  }
  malloc_trim(0);
}

void ModelManager::FinishReloads(const std::vector<std::shared_ptr<PendingReload>>& reloads,
                                 const absl::Status& status) {
  std::vector<std::shared_ptr<PendingReload>> finished;
  {
    const MutexLock lock(mutex_);
    for (const auto& reload : reloads) {
      if (reload->status.ok()) reload->status = status;
      if (--reload->versions == 0) finished.push_back(reload);
    }
  }
  for (const auto& reload : finished) reload->done(reload->status);
}

}  // namespace octet::server
