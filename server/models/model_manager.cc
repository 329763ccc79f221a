#include "server/models/model_manager.h"

#include <malloc.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/log.h"
#include "server/models/quote.h"
#include "server/models/ready_log.h"

namespace octet::server {
namespace {

// Stands for "no version is known" where a model as a whole has a problem.
constexpr int64_t kNoVersion = 0;

std::string VersionText(int64_t version) {
  return version == kNoVersion ? "" : absl::StrCat(version);
}

RepositoryModel MissingModel(const std::string& name, const std::filesystem::path& repository) {
  RepositoryModel model{.name = name};
  model.problem = repository.empty()
                      ? "the configuration names it without a path, and there is no repository"
                      : absl::StrCat("the configuration names it without a path, and it is not in ",
                                     repository.string());
  return model;
}

// The repository's models; a repository that is one file holds one model of the file's name.
absl::StatusOr<RepositoryContents> Scan(const std::filesystem::path& repository) {
  if (repository.empty()) return RepositoryContents{};
  std::error_code error;
  if (repository.extension() == ".onnx" && std::filesystem::is_regular_file(repository, error)) {
    RepositoryContents contents;
    contents.models.push_back(ScanModel(repository.stem().string(), repository));
    return contents;
  }
  return ScanRepository(repository);
}

}  // namespace

ModelManager::ModelManager(ModelManagerOptions options, MetricsRegistry& metrics)
    : options_(std::move(options)), metrics_(metrics) {}

absl::StatusOr<std::unique_ptr<ModelManager>> ModelManager::Create(ModelManagerOptions options,
                                                                   MetricsRegistry& metrics) {
  std::unique_ptr<ModelManager> manager(new ModelManager(std::move(options), metrics));
  OCTET_RETURN_IF_ERROR(manager->AddAll());
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

void ModelManager::Add(const RepositoryModel& model, const ModelSettings& settings) {
  Versions& versions = models_[model.name];
  const auto fail = [&](int64_t number, const std::string& reason) {
    Version& version = versions[number];
    version.source = {.name = model.name, .version = number};
    version.state = ModelState::kFailed;
    version.reason = reason;
    LogError("model cannot be loaded",
             {{"model", model.name}, {"version", VersionText(number)}, {"reason", reason}});
  };
  if (!model.problem.empty()) return fail(kNoVersion, model.problem);

  std::vector<int64_t> available;
  for (const VersionFile& file : model.versions) available.push_back(file.version);
  for (const int64_t number : SelectVersions(settings.versions, available)) {
    const auto file =
        std::find_if(model.versions.begin(), model.versions.end(),
                     [number](const VersionFile& entry) { return entry.version == number; });
    if (file == model.versions.end()) {
      fail(number, absl::StrCat("the version policy names version ", number, ", which is not in ",
                                model.path.string()));
    } else if (!file->problem.empty()) {
      fail(number, file->problem);
    } else {
      Version& version = versions[number];
      version.source = {.name = model.name, .version = number, .file = file->file};
      version.settings = settings;
      to_load_.push_back(&version);
    }
  }
}

absl::Status ModelManager::AddAll() {
  OCTET_ASSIGN_OR_RETURN(const RepositoryContents contents, Scan(options_.repository));
  for (const std::string& warning : contents.warnings) {
    LogWarning("model repository", {{"warning", warning}});
  }

  const MutexLock lock(mutex_);
  std::set<std::string> added;
  for (const ConfiguredModel& configured : options_.models) {
    if (!added.insert(configured.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the configuration names the model ", Quote(configured.name), " twice"));
    }
    const auto found =
        std::find_if(contents.models.begin(), contents.models.end(),
                     [&](const RepositoryModel& model) { return model.name == configured.name; });
    const bool in_repository = found != contents.models.end();
    if (configured.path.empty()) {
      Add(in_repository ? *found : MissingModel(configured.name, options_.repository),
          configured.settings);
    } else if (in_repository && found->path != configured.path) {
      return absl::InvalidArgumentError(absl::StrCat(
          "two models named ", Quote(configured.name), ": ", found->path.string(),
          " in the repository, and ", configured.path.string(), " in the configuration"));
    } else {
      Add(ScanModel(configured.name, configured.path), configured.settings);
    }
  }
  for (const RepositoryModel& model : contents.models) {
    if (!added.contains(model.name)) Add(model, options_.defaults);
  }
  if (models_.empty()) LogWarning("there are no models to serve");
  return absl::OkStatus();
}

void ModelManager::RunLoads() {
  while (true) {
    Version* version = nullptr;
    {
      const MutexLock lock(mutex_);
      if (closed_ || to_load_.empty()) break;
      version = to_load_.front();
      to_load_.pop_front();
      ++loading_;
    }
    Load(*version);
    {
      const MutexLock lock(mutex_);
      --loading_;
    }
    changed_.NotifyAll();
    if (on_change_) on_change_();
  }
  changed_.NotifyAll();
}

absl::StatusOr<std::shared_ptr<ServableModel>> ModelManager::LoadServable(
    const Version& version, const ProgressFn& progress) {
  const ModelSource& source = version.source;
  OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const runtime::CompiledModel> model,
                         options_.loader(source, progress));
  progress("starting streams");
  std::function<void(int)> on_stream_start;
  if (options_.on_stream_start) {
    on_stream_start = [this, source](int stream) { options_.on_stream_start(source, stream); };
  }
  return ServableModel::Start(source, std::move(model), version.settings.batching,
                              std::move(on_stream_start), metrics_);
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

void ModelManager::Load(Version& version) {
  const ModelSource source = version.source;
  const absl::Time start = absl::Now();
  const auto progress = [this, &version](absl::string_view what) {
    const MutexLock lock(mutex_);
    version.reason = std::string(what);
  };
  LogInfo("model loading",
          {{"model", source.name}, {"version", source.version}, {"file", source.file.string()}});
  absl::StatusOr<std::shared_ptr<ServableModel>> servable = LoadServable(version, progress);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  // What the load took for itself goes back to the system; see KeepFreedMemory().
  malloc_trim(0);

  if (servable.ok()) {
    const runtime::ModelSummary& summary = (*servable)->model().summary();
    (*servable)->metrics().SetLoaded(LoadedFrom(summary, seconds));
    LogReady(**servable, seconds);
    WarnOfLargeBatches(**servable);
  } else {
    LogError("model cannot be loaded", {{"model", source.name},
                                        {"version", source.version},
                                        {"reason", servable.status().message()}});
  }

  const MutexLock lock(mutex_);
  if (!servable.ok()) {
    version.state = ModelState::kFailed;
    version.reason = std::string(servable.status().message());
    if (version.reason.empty()) version.reason = servable.status().ToString();
    return;
  }
  version.reason.clear();
  version.servable = *std::move(servable);
  version.state = closed_ ? ModelState::kDraining : ModelState::kReady;
  if (closed_) version.servable->Close();
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
    best = &entry->second;
  } else {
    // The newest that is ready; failing that, the newest that may become so.
    for (const auto& [number, entry] : versions) {
      if (entry.state == ModelState::kReady) {
        best = &entry;
        break;
      }
      if (best == nullptr ||
          (best->state == ModelState::kFailed && entry.state == ModelState::kLoading)) {
        best = &entry;
      }
    }
  }
  if (closed_) return absl::UnavailableError("the server is draining and takes no new requests");
  if (best != nullptr && best->state == ModelState::kReady) return best->servable;
  const std::string which = absl::StrCat("model ", Quote(name),
                                         best != nullptr && best->source.version != kNoVersion
                                             ? absl::StrCat(" version ", best->source.version)
                                             : "");
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
        if (version.state == ModelState::kReady) ready.push_back(version.servable);
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
                                  .state = version.state,
                                  .reason = version.reason};
      }
    }
  }
  std::vector<ModelStatus> index;
  for (auto& [key, status] : sorted) index.push_back(std::move(status));
  return index;
}

std::vector<ModelStatus> ModelManager::Unready() const {
  std::vector<ModelStatus> index = Index();
  std::erase_if(index, [this](const ModelStatus& status) {
    return status.state == ModelState::kReady || status.state == ModelState::kUnloaded ||
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
  while ((!to_load_.empty() && !closed_) || loading_ > 0) {
    if (absl::Now() >= deadline) return false;
    changed_.WaitUntil(mutex_, deadline);
  }
  return true;
}

absl::Status ModelManager::Unload(absl::string_view name, int64_t version) {
  std::shared_ptr<ServableModel> servable;
  {
    const MutexLock lock(mutex_);
    const auto found = models_.find(name);
    const auto entry = found == models_.end() ? Versions::iterator() : found->second.find(version);
    if (found == models_.end() || entry == found->second.end() ||
        entry->second.state != ModelState::kReady) {
      return absl::NotFoundError(
          absl::StrCat("model ", Quote(name), " has no version ", version, " that is ready"));
    }
    entry->second.state = ModelState::kDraining;
    servable = entry->second.servable;
  }
  servable->Drain();
  {
    const MutexLock lock(mutex_);
    Version& unloaded = models_.find(name)->second.find(version)->second;
    unloaded.state = ModelState::kUnloaded;
    unloaded.servable.reset();
  }
  LogInfo("model unloaded", {{"model", name}, {"version", version}});
  return absl::OkStatus();
}

std::vector<std::shared_ptr<ServableModel>> ModelManager::Servables() const {
  std::vector<std::shared_ptr<ServableModel>> servables;
  const MutexLock lock(mutex_);
  for (const auto& [name, versions] : models_) {
    for (const auto& [number, version] : versions) {
      if (version.servable != nullptr) servables.push_back(version.servable);
    }
  }
  return servables;
}

void ModelManager::Close() {
  {
    const MutexLock lock(mutex_);
    closed_ = true;
    for (auto& [name, versions] : models_) {
      for (auto& [number, version] : versions) {
        if (version.state == ModelState::kReady) version.state = ModelState::kDraining;
      }
    }
  }
  changed_.NotifyAll();
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
