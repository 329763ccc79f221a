// octet config check | explain | reference.

#pragma once

#include <vector>

#include "server/commands/command.h"

namespace octet::server {

std::vector<Command> ConfigCommands();

}  // namespace octet::server
