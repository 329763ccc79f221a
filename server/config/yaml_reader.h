// YAML text -> ConfigNode. The one place that knows yaml-cpp, and where its exceptions end.

#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/config/config_node.h"

namespace octet::server {

inline constexpr size_t kMaxConfigBytes = size_t{1} << 20;
inline constexpr int kMaxConfigDepth = 16;
inline constexpr int kMaxConfigValues = 20'000;

// The one document of `text`; an empty one is an empty mapping. `source` is the file's name, for
// messages: "source:line N: path.to.key: what is wrong".
//   InvalidArgument   not UTF-8, control characters, tabs as indentation, bad syntax, more than one
//                     document, keys that are twice or not text, anchors, aliases, merge keys,
//                     tags, or above the limits of size, depth and number of values
// Reads nothing but `text`.
absl::StatusOr<ConfigNode> ReadYaml(absl::string_view text, absl::string_view source);

// InvalidArgument "source:line N: path: message"; without a path that part is left out.
absl::Status ConfigError(absl::string_view source, int line, absl::string_view path,
                         absl::string_view message);

}  // namespace octet::server
