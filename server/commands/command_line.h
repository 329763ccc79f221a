// Command rows + argv -> exit code. The one place that knows CLI11, and where its exceptions end.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/commands/command.h"

namespace octet::server {

// Runs the command that `arguments` (without the program's name) ask for and returns the exit code.
// Help goes to console.out; errors to console.error, as "octet: message".
int RunCommandLine(std::span<const Command> commands, const std::vector<std::string>& arguments,
                   Console& console);

}  // namespace octet::server
