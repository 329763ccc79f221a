#include "tests/conformance/case_index.h"

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/onnx/import.h"

namespace octet::conformance {
namespace {

absl::StatusOr<std::vector<std::string>> Lines(const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  return std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()));
}

absl::StatusOr<std::vector<Tensor>> ReadTensors(const std::string& folder, absl::string_view kind) {
  std::vector<Tensor> tensors;
  for (int i = 0;; ++i) {
    const std::string path = absl::StrCat(folder, "/", kind, "_", i, ".pb");
    if (!std::filesystem::exists(path)) return tensors;
    // A scalar zero may be a file of few bytes, but never an empty one.
    OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    absl::StatusOr<Tensor> tensor = graph::ReadTensorProto(file.bytes());
    if (!tensor.ok()) return Annotate(tensor.status(), path);
    tensors.push_back(*std::move(tensor));
  }
}

}  // namespace

absl::StatusOr<std::vector<Case>> ReadIndex(const std::string& folder) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> lines, Lines(folder + "/index.tsv"));
  std::vector<Case> cases;
  for (const std::string& line : lines) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    Case test;
    if (fields.size() != 7 || !absl::SimpleAtod(fields[2], &test.tolerance.relative) ||
        !absl::SimpleAtod(fields[3], &test.tolerance.absolute)) {
      return absl::InvalidArgumentError(absl::StrCat(folder, "/index.tsv: ", line));
    }
    test.suite = fields[0];
    test.name = fields[1];
    test.folder = absl::StrCat(folder, "/", test.suite, "/", test.name);
    test.unsupported = fields[4];
    test.operators = absl::StrSplit(fields[5], ',', absl::SkipEmpty());
    test.output_types = absl::StrSplit(fields[6], ',', absl::SkipEmpty());
    cases.push_back(std::move(test));
  }
  return cases;
}

absl::StatusOr<std::vector<DataSet>> ReadDataSets(const Case& test) {
  std::vector<DataSet> sets;
  for (int k = 0;; ++k) {
    const std::string folder = absl::StrCat(test.folder, "/test_data_set_", k);
    if (!std::filesystem::exists(folder)) break;
    DataSet set;
    OCTET_ASSIGN_OR_RETURN(set.inputs, ReadTensors(folder, "input"));
    OCTET_ASSIGN_OR_RETURN(set.expected, ReadTensors(folder, "output"));
    sets.push_back(std::move(set));
  }
  if (sets.empty()) return absl::NotFoundError(absl::StrCat(test.folder, " has no data"));
  return sets;
}

absl::StatusOr<std::vector<Skip>> ReadSkips(const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> lines, Lines(path));
  std::vector<Skip> skips;
  for (const std::string& line : lines) {
    if (line[0] == '#') continue;
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const std::string reason(absl::StripAsciiWhitespace(parts.second));
    if (reason.empty()) return absl::InvalidArgumentError(absl::StrCat(line, ": no reason given"));
    skips.push_back({.pattern = parts.first, .reason = reason});
  }
  return skips;
}

}  // namespace octet::conformance
