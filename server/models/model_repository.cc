#include "server/models/model_repository.h"

#include <algorithm>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "server/models/model_version.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kModelFile = "model.onnx";
constexpr absl::string_view kExtension = ".onnx";
constexpr size_t kMaxEntries = 10'000;

bool IsPassedOver(absl::string_view name) {
  return absl::StartsWith(name, ".") || name == "lost+found";
}

enum class EntryKind { kMissing, kFile, kFolder, kOther };

// Follows links. A loop of links, or a folder that must not be looked into, is an error.
absl::StatusOr<EntryKind> KindOf(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    // A link whose target is gone is there and leads nowhere.
    if (fs::is_symlink(fs::symlink_status(path, error))) {
      return absl::FailedPreconditionError(
          absl::StrCat(path.string(), ": the link leads to nothing"));
    }
    return EntryKind::kMissing;
  }
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(path.string(), ": ", error.message()));
  }
  if (status.type() == fs::file_type::regular) return EntryKind::kFile;
  if (status.type() == fs::file_type::directory) return EntryKind::kFolder;
  return EntryKind::kOther;
}

// Names in `directory`, sorted.
absl::StatusOr<std::vector<std::string>> NamesIn(const fs::path& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
    if (names.size() > kMaxEntries) {
      return absl::FailedPreconditionError(
          absl::StrCat(directory.string(), ": more than ", kMaxEntries, " entries"));
    }
  }
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(directory.string(), ": ", error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What a user may have named otherwise, for messages.
std::string OtherOnnxFiles(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (absl::EndsWith(name, kExtension)) return absl::StrCat("; found ", Quote(name));
  }
  return "";
}

absl::Status CheckModelFile(const fs::path& file) {
  OCTET_ASSIGN_OR_RETURN(const EntryKind kind, KindOf(file));
  if (kind == EntryKind::kFile) return absl::OkStatus();
  if (kind != EntryKind::kMissing) {
    return absl::FailedPreconditionError(absl::StrCat(file.string(), ": not a regular file"));
  }
  std::string found;
  const auto names = NamesIn(file.parent_path());
  if (names.ok()) found = OtherOnnxFiles(*names);
  return absl::NotFoundError(absl::StrCat(file.string(), ": no such file", found));
}

VersionFile MakeVersion(int64_t version, fs::path file) {
  VersionFile result{.version = version, .file = std::move(file)};
  const absl::Status status = CheckModelFile(result.file);
  if (!status.ok()) result.problem = std::string(status.message());
  return result;
}

absl::StatusOr<std::vector<VersionFile>> VersionsIn(const fs::path& folder) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder));
  std::vector<VersionFile> versions;
  for (const std::string& name : names) {
    const std::optional<int64_t> version = ParseVersionFolder(name);
    if (version.has_value()) {
      versions.push_back(MakeVersion(*version, folder / name / std::string(kModelFile)));
    }
  }
  const bool has_file = std::find(names.begin(), names.end(), kModelFile) != names.end();
  if (has_file && !versions.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder.string(),
                     ": has both model.onnx and version folders; which one is "
                     "meant is not clear"));
  }
  if (has_file) versions.push_back(MakeVersion(1, folder / std::string(kModelFile)));
  if (versions.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder.string(), ": neither model.onnx nor a version folder with model.onnx",
                     OtherOnnxFiles(names)));
  }
  std::sort(versions.begin(), versions.end(),
            [](const VersionFile& a, const VersionFile& b) { return a.version < b.version; });
  return versions;
}

// True if nothing in `folder` looks like a model, so that it is not one that went wrong.
bool HoldsNoModel(const fs::path& folder) {
  const auto names = NamesIn(folder);
  return names.ok() && std::none_of(names->begin(), names->end(), [](const std::string& name) {
           return absl::EndsWith(name, kExtension) || ParseVersionFolder(name).has_value();
         });
}

void Fail(RepositoryModel& model, absl::string_view problem) {
  model.problem = std::string(problem);
  model.versions.clear();
}

}  // namespace

bool IsModelName(absl::string_view name) {
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

RepositoryModel ScanModel(absl::string_view name, const fs::path& path) {
  RepositoryModel model{.name = std::string(name), .path = path};
  if (!IsModelName(name)) {
    model.name = std::string(absl::StripPrefix(absl::StripSuffix(Quote(name), "\""), "\""));
    Fail(model,
         "a model's name has 1 to 128 letters, digits, '.', '_' or '-', and does not start "
         "with '.'");
    return model;
  }
  const absl::StatusOr<EntryKind> kind = KindOf(path);
  if (!kind.ok()) {
    Fail(model, kind.status().message());
  } else if (*kind == EntryKind::kFile) {
    model.versions.push_back({.version = 1, .file = path});
  } else if (*kind == EntryKind::kFolder) {
    absl::StatusOr<std::vector<VersionFile>> versions = VersionsIn(path);
    if (versions.ok()) {
      model.versions = *std::move(versions);
    } else {
      Fail(model, versions.status().message());
    }
  } else {
    Fail(model, absl::StrCat(path.string(), *kind == EntryKind::kMissing
                                                ? ": no such file or folder"
                                                : ": neither a file nor a folder"));
  }
  return model;
}

absl::StatusOr<RepositoryContents> ScanRepository(const fs::path& directory) {
  OCTET_ASSIGN_OR_RETURN(const EntryKind root, KindOf(directory));
  if (root == EntryKind::kMissing) {
    return absl::NotFoundError(
        absl::StrCat("model repository ", directory.string(), ": no such folder"));
  }
  if (root != EntryKind::kFolder) {
    return absl::FailedPreconditionError(
        absl::StrCat("model repository ", directory.string(), ": not a folder"));
  }
  absl::StatusOr<std::vector<std::string>> names = NamesIn(directory);
  if (!names.ok()) return Annotate(names.status(), "model repository");

  RepositoryContents contents;
  std::map<std::string, RepositoryModel> models;
  for (const std::string& name : *names) {
    if (IsPassedOver(name)) continue;
    const fs::path path = directory / name;
    const absl::StatusOr<EntryKind> kind = KindOf(path);
    const bool single_file = absl::EndsWith(name, kExtension);
    if (kind.ok() && *kind != EntryKind::kFolder && !single_file) continue;
    if (kind.ok() && *kind == EntryKind::kFolder && HoldsNoModel(path)) {
      contents.warnings.push_back(absl::StrCat(path.string(), ": holds no model, passed over"));
      continue;
    }
    RepositoryModel model = ScanModel(
        single_file ? absl::StripSuffix(name, kExtension) : absl::string_view(name), path);
    const auto [entry, inserted] = models.try_emplace(model.name, model);
    if (!inserted) {
      Fail(entry->second, absl::StrCat("two models of this name: ", entry->second.path.string(),
                                       " and ", path.string()));
    }
  }
  for (auto& [name, model] : models) contents.models.push_back(std::move(model));
  return contents;
}

}  // namespace octet::server
