#include "server/config/config_file.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <ios>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config/fields.h"
#include "server/config/spelling.h"
#include "server/config/yaml_reader.h"

namespace octet::server {
namespace {

absl::Status ReadFlags(std::span<const FlagValue> flags, LoadedConfig& loaded) {
  for (const FlagValue& flag : flags) {
    const Reading reading{flag.flag, "", true, &loaded.origins};
    OCTET_RETURN_IF_ERROR(
        ReadFields(ConfigFields(), NodeForPath(flag.path, flag.value), "", reading, loaded.config));
  }
  return absl::OkStatus();
}

// No rule of the row of `server`: a flag may resolve what clashes in the file.
absl::Status CheckPorts(const LoadedConfig& loaded) {
  const ServerConfig& server = loaded.config.server;
  if (server.grpc_port != server.http_port || server.grpc_port == 0) return absl::OkStatus();
  const auto origin = [&](const std::string& path) {
    const auto found = loaded.origins.find(path);
    return found == loaded.origins.end() ? std::string("default") : found->second;
  };
  return absl::InvalidArgumentError(absl::StrCat("server: grpc_port (", origin("server.grpc_port"),
                                                 ") and http_port (", origin("server.http_port"),
                                                 ") must differ, but both are ", server.grpc_port));
}

}  // namespace

absl::StatusOr<std::string> ReadConfigText(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder, not a file"));
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::ErrnoToStatus(errno != 0 ? errno : EIO, path);
  // One byte more than allowed tells the reader that there is too much.
  std::string text(kMaxConfigBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return absl::ErrnoToStatus(errno != 0 ? errno : EIO, path);
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

absl::Status OverrideModel(const std::string& model, absl::string_view text, Config& config) {
  OCTET_ASSIGN_OR_RETURN(const ConfigNode root, ReadYaml(text, "config"));
  const Reading reading{"config", "", false, nullptr};
  OCTET_RETURN_IF_ERROR(reading.CheckKeys(root, "", {"quantization"}));
  ModelConfig entry = config.ForModel(model);
  OCTET_RETURN_IF_ERROR(ReadFields(ModelFields(), root, "", reading, entry));
  std::erase_if(config.models, [&](const ModelConfig& other) { return other.name == model; });
  config.models.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<LoadedConfig> ParseConfig(absl::string_view text, const std::string& file_name,
                                         std::span<const FlagValue> flags) {
  OCTET_ASSIGN_OR_RETURN(const ConfigNode root, ReadYaml(text, file_name));
  LoadedConfig loaded;
  const std::string folder = std::filesystem::path(file_name).parent_path().string();
  const Reading reading{file_name, folder, false, &loaded.origins};
  OCTET_RETURN_IF_ERROR(ReadFields(ConfigFields(), root, "", reading, loaded.config));
  OCTET_RETURN_IF_ERROR(ReadFlags(flags, loaded));
  OCTET_RETURN_IF_ERROR(CheckPorts(loaded));
  return loaded;
}

absl::StatusOr<LoadedConfig> LoadConfig(const std::string& path, std::span<const FlagValue> flags) {
  if (path.empty()) {
    LoadedConfig loaded;
    OCTET_RETURN_IF_ERROR(ReadFlags(flags, loaded));
    OCTET_RETURN_IF_ERROR(CheckPorts(loaded));
    return loaded;
  }
  OCTET_ASSIGN_OR_RETURN(const std::string text, ReadConfigText(path));
  return ParseConfig(text, path, flags);
}

absl::Status CheckServable(const Config& config) {
  if (!config.model_repository.empty()) return absl::OkStatus();
  if (config.models.empty()) {
    return absl::InvalidArgumentError(
        "nothing to serve: set model_repository (--model-repository DIR), or models with a path");
  }
  for (const ModelConfig& model : config.models) {
    if (!model.path.empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat("model ", Quoted(model.name),
                                                   " has no path, and there is no model_repository "
                                                   "(--model-repository DIR) to find it in"));
  }
  return absl::OkStatus();
}

}  // namespace octet::server
