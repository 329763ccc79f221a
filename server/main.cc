// octet: the command-line front. Each subcommand is one row.

#include <iostream>
#include <string>
#include <vector>

#include "server/commands/command_line.h"
#include "server/commands/config_commands.h"
#include "server/commands/version.h"

namespace octet::server {
namespace {

std::vector<Command> Commands() {
  std::vector<Command> commands = ConfigCommands();
  commands.push_back(VersionCommand({{"octet", OCTET_VERSION}, {"compiler", OCTET_COMPILER}}));
  return commands;
}

}  // namespace
}  // namespace octet::server

int main(int argc, char** argv) {
  octet::server::Console console{std::cout, std::cerr};
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return octet::server::RunCommandLine(octet::server::Commands(), arguments, console);
}
