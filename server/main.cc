// octet: the command-line front. Each subcommand is one row.

#include <iostream>
#include <string>
#include <vector>

#include "kernels/cpu.h"
#include "server/commands/bench.h"
#include "server/commands/command_line.h"
#include "server/commands/config_commands.h"
#include "server/commands/inspect.h"
#include "server/commands/probe.h"
#include "server/commands/quantize.h"
#include "server/commands/serve.h"
#include "server/commands/tune.h"
#include "server/commands/version.h"

namespace octet::server {
namespace {

std::vector<Command> Commands() {
  std::vector<Command> commands = ConfigCommands();
  commands.push_back(ServeCommand(Serve));
  commands.push_back(QuantizeCommand(Quantize));
  commands.push_back(TuneCommand(Tune));
  commands.push_back(InspectCommand(Inspect));
  commands.push_back(BenchCommand({Bench, BenchServer}));
  commands.push_back(ProbeCommand(Probe));
  commands.push_back(VersionCommand({{"octet", OCTET_VERSION},
                                     {"compiler", OCTET_COMPILER},
                                     {"oneDNN", kernels::OneDnnVersion()},
                                     {"instruction set", kernels::InstructionSet()}}));
  return commands;
}

}  // namespace
}  // namespace octet::server

int main(int argc, char** argv) {
  octet::server::Console console{std::cout, std::cerr};
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return octet::server::RunCommandLine(octet::server::Commands(), arguments, console);
}
