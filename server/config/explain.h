// The settings as text for people: with the values of one configuration, and as a reference.

#pragma once

#include <string>

#include "server/config/config_file.h"

namespace octet::server {

// Every setting with its value, where that came from (default, file and line, flag, or the top
// level for models) and what it means.
std::string ExplainConfig(const LoadedConfig& loaded);

// docs/configuration.md.
std::string ConfigReference();

}  // namespace octet::server
