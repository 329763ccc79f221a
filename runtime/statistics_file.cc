#include "runtime/statistics_file.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/pack_file.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMostBytes = uintmax_t{1} << 30;  // of one file
constexpr size_t kMostFiles = 1000;

absl::StatusOr<std::vector<std::string>> FilesAt(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".qcal") files.push_back(entry->path().string());
  }
  if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
  if (files.empty()) {
    return absl::NotFoundError(absl::StrCat(path, ": there is no .qcal file in this folder"));
  }
  if (files.size() > kMostFiles) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", files.size(), " .qcal files, expected at most ", kMostFiles));
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<CalibrationStatistics> ReadOne(const std::string& path, const std::string& network,
                                              ReadRecord& files) {
  OCTET_ASSIGN_OR_RETURN(const std::string content,
                         ReadSectionFile(path, kStatisticsForm, kMostBytes));
  const auto bytes = std::as_bytes(std::span(content.data(), content.size()));
  OCTET_RETURN_IF_ERROR(files.Add(path, bytes));
  absl::StatusOr<CalibrationStatistics> statistics = DecodeStatistics(bytes);
  if (!statistics.ok()) return Annotate(statistics.status(), path);
  if (statistics->network == network) return statistics;
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": these are statistics of another network, ",
                   statistics->network.substr(0, 16), ", by Octet ", statistics->software,
                   "; this one is ", network.substr(0, 16), ", and this Octet ", OCTET_VERSION));
}

absl::StatusOr<CalibrationStatistics> ReadAndMerge(const std::string& path,
                                                   const std::string& network, ReadRecord& files) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> paths, FilesAt(path));
  std::optional<CalibrationStatistics> merged;
  for (const std::string& file : paths) {
    OCTET_ASSIGN_OR_RETURN(CalibrationStatistics one, ReadOne(file, network, files));
    if (!merged) {
      merged = std::move(one);
    } else {
      OCTET_RETURN_IF_ERROR(Merge(one, *merged));
    }
  }
  return *std::move(merged);
}

}  // namespace

absl::StatusOr<CalibrationStatistics> ReadStatistics(const std::string& path,
                                                     const std::string& network,
                                                     ReadRecord& files) {
  absl::StatusOr<CalibrationStatistics> statistics = ReadAndMerge(path, network, files);
  if (!statistics.ok()) return Annotate(statistics.status(), "Q009: quantization.calibration.path");
  return statistics;
}

std::string StatisticsPath(const std::string& path, const std::string& model) {
  std::error_code ignored;
  if (!absl::EndsWith(path, "/") && !fs::is_directory(path, ignored)) return path;
  return (fs::path(path) / NameInSharedFolder(model, ".qcal")).string();
}

absl::StatusOr<std::string> WriteStatistics(const std::string& path, const std::string& model,
                                            const CalibrationStatistics& statistics) {
  std::string file = StatisticsPath(path, model);
  const fs::path folder = fs::path(file).parent_path();
  std::error_code error;  // which writing will tell
  if (!folder.empty()) fs::create_directories(folder, error);
  OCTET_RETURN_IF_ERROR(WriteFile(file, EncodeStatistics(statistics)));
  return file;
}

}  // namespace octet::runtime
