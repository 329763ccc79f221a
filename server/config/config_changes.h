// What differs between two configurations.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace octet::server {

struct SettingChange {
  std::string path;  // "quantization.mode"
  std::string before;
  std::string after;
};

// The settings outside of `models` that differ, in the order of the reference.
std::vector<SettingChange> ChangedSettings(const Config& before, const Config& after);

// True if a running server cannot take up another value of the setting.
bool NeedsRestart(absl::string_view path);

// Every setting that a loaded version of the model depends on, one "path: value" a line: not its
// name and place, nor which versions are served. The same text means the same model.
std::string LoadedSettings(const ModelConfig& model);

}  // namespace octet::server
