#include "server/models/model_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/log.h"
#include "server/models/model_repository.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

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

void Add(const RepositoryModel& model, const ModelSettings& settings,
         std::vector<PlannedVersion>& plan) {
  const auto fail = [&](int64_t number, const std::string& problem) {
    plan.push_back({{.name = model.name, .version = number}, settings, problem});
  };
  if (!model.problem.empty()) return fail(kNoVersion, model.problem);

  std::vector<int64_t> available;
  available.reserve(model.versions.size());
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
      plan.push_back({{.name = model.name, .version = number, .file = file->file}, settings, ""});
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<PlannedVersion>> PlanModels(const std::filesystem::path& repository,
                                                       const std::vector<ConfiguredModel>& models,
                                                       const ModelSettings& defaults) {
  OCTET_ASSIGN_OR_RETURN(const RepositoryContents contents, Scan(repository));
  for (const std::string& warning : contents.warnings) {
    LogWarning("model repository", {{"warning", warning}});
  }
  std::vector<PlannedVersion> plan;
  std::set<std::string> added;
  for (const ConfiguredModel& configured : models) {
    if (!added.insert(configured.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the configuration names the model ", Quote(configured.name), " twice"));
    }
    const auto found =
        std::find_if(contents.models.begin(), contents.models.end(),
                     [&](const RepositoryModel& model) { return model.name == configured.name; });
    const bool in_repository = found != contents.models.end();
    if (configured.path.empty()) {
      Add(in_repository ? *found : MissingModel(configured.name, repository), configured.settings,
          plan);
    } else if (in_repository && found->path != configured.path) {
      return absl::InvalidArgumentError(absl::StrCat(
          "two models named ", Quote(configured.name), ": ", found->path.string(),
          " in the repository, and ", configured.path.string(), " in the configuration"));
    } else {
      Add(ScanModel(configured.name, configured.path), configured.settings, plan);
    }
  }
  for (const RepositoryModel& model : contents.models) {
    if (!added.contains(model.name)) Add(model, defaults, plan);
  }
  if (plan.empty()) LogWarning("there are no models to serve");
  return plan;
}

}  // namespace octet::server
