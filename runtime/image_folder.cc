#include "runtime/image_folder.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/images/decode.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

using Labels = absl::flat_hash_map<std::string, int64_t>;

// An image is most likely listed twice by mistake: that is an error if the labels differ.
absl::Status AddLabel(absl::string_view line, Labels& labels) {
  line = absl::StripAsciiWhitespace(line);
  if (line.empty()) return absl::OkStatus();
  const size_t space = line.find_last_of(" \t");
  int64_t label = 0;
  if (space == absl::string_view::npos || !absl::SimpleAtoi(line.substr(space + 1), &label)) {
    return absl::InvalidArgumentError("expected the name of an image and an integer");
  }
  const std::string name(absl::StripTrailingAsciiWhitespace(line.substr(0, space)));
  const auto [entry, added] = labels.emplace(name, label);
  if (added || entry->second == label) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has label ", label, ", and before had ", entry->second));
}

absl::StatusOr<Labels> ReadLabels(const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  Labels labels;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::Status status = AddLabel(line, labels);
    if (!status.ok()) return Annotate(status, absl::StrCat(path, " line ", number));
  }
  return labels;
}

absl::StatusOr<std::vector<int64_t>> LabelsOf(const std::vector<std::string>& names,
                                              const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(const Labels labels, ReadLabels(path));
  std::vector<int64_t> result;
  result.reserve(names.size());
  for (const std::string& name : names) {
    const auto found = labels.find(name);
    if (found == labels.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": has no label for ", name));
    }
    result.push_back(found->second);
  }
  return result;
}

}  // namespace

std::vector<std::string> FindImages(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;  // a link that leads nowhere is no image
    if (name.front() == '.') {
      entry.disable_recursion_pending();
    } else if (IsImageName(name) && fs::is_regular_file(entry->path(), ignored)) {
      names.push_back(entry->path().lexically_relative(folder).generic_string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<SampleSet> ImageSamples(const std::string& folder, std::vector<std::string> names,
                                       const ImageInput& input) {
  SampleSet set{.size = names.size()};
  const std::string labels = (fs::path(folder) / "labels.txt").string();
  std::error_code ignored;  // what cannot be looked up is not there
  if (fs::exists(labels, ignored)) {
    OCTET_ASSIGN_OR_RETURN(set.labels, LabelsOf(names, labels));
  }
  const auto shared = std::make_shared<const std::vector<std::string>>(std::move(names));
  set.sample = [folder, shared, input](size_t index) -> absl::StatusOr<std::vector<Tensor>> {
    OCTET_ASSIGN_OR_RETURN(Tensor image,
                           input.Read((fs::path(folder) / shared->at(index)).string()));
    return std::vector<Tensor>{std::move(image)};
  };
  return set;
}

}  // namespace octet::runtime
