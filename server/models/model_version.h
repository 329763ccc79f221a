// Version numbers of models, and which of them are served.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::server {

// A version as a client writes it. "" and "-1" ask for the newest: nullopt. InvalidArgument for
// what is not an integer.
absl::StatusOr<std::optional<int64_t>> ParseRequestedVersion(absl::string_view text);

// A version as the name of a folder: digits without a leading zero. nullopt for any other name.
std::optional<int64_t> ParseVersionFolder(absl::string_view name);

struct VersionSelection {
  enum class Kind : uint8_t { kLatest, kAll, kSpecific };

  Kind kind = Kind::kLatest;
  int64_t latest = 1;             // kLatest: how many of the newest
  std::vector<int64_t> versions;  // kSpecific
};

// Which versions to serve, newest first. kSpecific returns its versions whether available or not:
// that one is missing is for the caller to report.
std::vector<int64_t> SelectVersions(const VersionSelection& policy,
                                    std::span<const int64_t> available);

}  // namespace octet::server
