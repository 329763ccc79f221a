// Finds models on disk. A repository is a folder whose entries are models, in any of three forms:
//
//   NAME/VERSION/model.onnx   as Triton and the OpenVINO Model Server have it; VERSION is a number
//   NAME/model.onnx           version 1
//   NAME.onnx                 version 1
//
// Reads names only, never a model. Symbolic links are followed wherever the operator made them
// point; loops are reported. Entries whose names start with "." and "lost+found" are passed over.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::server {

struct VersionFile {
  int64_t version = 1;
  std::filesystem::path file;
  std::string problem;  // why it cannot be loaded; empty if nothing is known against it
};

struct RepositoryModel {
  std::string name;
  std::filesystem::path path;         // NAME or NAME.onnx
  std::vector<VersionFile> versions;  // ascending; empty only with a problem
  std::string problem;                // of the model as a whole
};

struct RepositoryContents {
  std::vector<RepositoryModel> models;  // by name; each name once
  std::vector<std::string> warnings;    // what was passed over, and why
};

// Everything in `directory`; what is wrong with one model is that model's problem.
//   NotFound            no such folder
//   FailedPrecondition  not a folder, cannot be read, or holds more than 10000 entries
absl::StatusOr<RepositoryContents> ScanRepository(const std::filesystem::path& directory);

// One model whose place is known: a folder or an .onnx file. Errors are the model's problem.
RepositoryModel ScanModel(absl::string_view name, const std::filesystem::path& path);

// A name that is safe in paths, messages and metrics: 1 to 128 letters, digits, ".", "_", "-", not
// starting with ".".
bool IsModelName(absl::string_view name);

}  // namespace octet::server
