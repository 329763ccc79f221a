#include "server/models/model_version.h"

#include <algorithm>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/models/quote.h"

namespace octet::server {

absl::StatusOr<std::optional<int64_t>> ParseRequestedVersion(absl::string_view text) {
  if (text.empty() || text == "-1") return std::optional<int64_t>();
  const absl::string_view digits = text[0] == '-' ? text.substr(1) : text;
  int64_t version = 0;
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &version)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model version must be an integer, or empty for the newest, not ", Quote(text)));
  }
  return std::optional<int64_t>(version);
}

std::optional<int64_t> ParseVersionFolder(absl::string_view name) {
  int64_t version = 0;
  if (name.empty() || name[0] == '0' ||
      !std::all_of(name.begin(), name.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(name, &version)) {
    return std::nullopt;
  }
  return version;
}

std::vector<int64_t> SelectVersions(const VersionSelection& policy,
                                    std::span<const int64_t> available) {
  const bool specific = policy.kind == VersionSelection::Kind::kSpecific;
  std::vector<int64_t> versions =
      specific ? policy.versions : std::vector<int64_t>(available.begin(), available.end());
  std::sort(versions.begin(), versions.end(), std::greater<>());
  versions.erase(std::unique(versions.begin(), versions.end()), versions.end());
  if (policy.kind == VersionSelection::Kind::kLatest) {
    const auto count = static_cast<size_t>(std::max<int64_t>(policy.latest, 1));
    if (versions.size() > count) versions.resize(count);
  }
  return versions;
}

}  // namespace octet::server
