// octet version.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/commands/command.h"

namespace octet::server {

// One line each, "octet: 0.1.0": the caller knows what the program was put together from.
using VersionLines = std::vector<std::pair<std::string, std::string>>;

Command VersionCommand(VersionLines lines);

}  // namespace octet::server
