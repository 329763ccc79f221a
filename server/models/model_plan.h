// Which model versions a configuration and a repository ask for.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batching/batch_queue.h"
#include "server/models/model_version.h"
#include "server/models/servable_model.h"

namespace octet::server {

// Stands for "no version is known" where a model as a whole has a problem.
inline constexpr int64_t kNoVersion = 0;

struct ModelSettings {
  VersionSelection versions;
  BatchingPolicy batching;
  // Everything that a loaded version depends on, as text: a version whose text changes is loaded
  // again.
  std::string fingerprint;
};

// A model that the configuration names. Without a path it is one of the repository's, and the entry
// only overrides its settings.
struct ConfiguredModel {
  std::string name;
  std::filesystem::path path;
  ModelSettings settings;
};

struct PlannedVersion {
  ModelSource source;  // without a file where there is a problem
  ModelSettings settings;
  std::string problem;  // why it cannot be loaded; empty if nothing is known against it
};

// Scans `repository` (a folder, or one .onnx file; empty: none). Warnings about what it holds are
// logged; what is wrong with one model is that model's problem.
//   InvalidArgument  two models of one name
//   others           ScanRepository()'s
absl::StatusOr<std::vector<PlannedVersion>> PlanModels(const std::filesystem::path& repository,
                                                       const std::vector<ConfiguredModel>& models,
                                                       const ModelSettings& defaults);

}  // namespace octet::server
