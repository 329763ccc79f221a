// A configuration file and the flags that win over it -> Config.

#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"
#include "server/config/field.h"

namespace octet::server {

// A flag that stands for a setting of the file.
struct FlagValue {
  std::string flag;   // "--grpc-port", for messages
  std::string path;   // "server.grpc_port"
  std::string value;  // as it would stand in the file
};

struct LoadedConfig {
  Config config;
  Origins origins;
};

// Reads `text`, then the flags. Relative paths in the text are looked for in the folder of
// `file_name`, and are otherwise relative to the working directory; those of flags are always the
// latter. InvalidArgument "file_name:line N: path.to.key: what was expected, what was found".
absl::StatusOr<LoadedConfig> ParseConfig(absl::string_view text, const std::string& file_name,
                                         std::span<const FlagValue> flags = {});

// ParseConfig() of the file at `path`; without a path, of the flags alone. Also NotFound and
// PermissionDenied. Reads no more than the largest file that is allowed.
absl::StatusOr<LoadedConfig> LoadConfig(const std::string& path,
                                        std::span<const FlagValue> flags = {});

// The bytes of the file, no more than the largest that is allowed and one. NotFound,
// PermissionDenied, InvalidArgument for a folder.
absl::StatusOr<std::string> ReadConfigText(const std::string& path);

// Sets what `text` says of one model over what `config` says of it: a mapping, as JSON or YAML,
// with the key `quantization`. InvalidArgument as in ParseConfig(), with "config" for the file.
absl::Status OverrideModel(const std::string& model, absl::string_view text, Config& config);

// OK if `config` says of something to serve where it is: a repository, or models with paths.
absl::Status CheckServable(const Config& config);

}  // namespace octet::server
