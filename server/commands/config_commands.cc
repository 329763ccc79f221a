#include "server/commands/config_commands.h"

#include <utility>

#include "base/status.h"
#include "server/config/config_file.h"
#include "server/config/explain.h"

namespace octet::server {
namespace {

Argument FileArgument() {
  return {.name = "FILE", .help = "Configuration file (YAML)", .required = true};
}

absl::StatusOr<Action> PrepareCheck(const Arguments& arguments) {
  const std::string path = arguments.Get("FILE");
  OCTET_ASSIGN_OR_RETURN(const LoadedConfig loaded, LoadConfig(path));
  const absl::Status servable = CheckServable(loaded.config);
  return [path, servable](Console& console) {
    console.out << path << ": ok\n";
    if (!servable.ok()) console.error << "note: " << std::string(servable.message()) << "\n";
    return absl::OkStatus();
  };
}

absl::StatusOr<Action> PrepareExplain(const Arguments& arguments) {
  OCTET_ASSIGN_OR_RETURN(const LoadedConfig loaded, LoadConfig(arguments.Get("FILE")));
  return [text = ExplainConfig(loaded)](Console& console) {
    console.out << text;
    return absl::OkStatus();
  };
}

absl::StatusOr<Action> PrepareReference(const Arguments& /*arguments*/) {
  return [](Console& console) {
    console.out << ConfigReference();
    return absl::OkStatus();
  };
}

}  // namespace

std::vector<Command> ConfigCommands() {
  return {
      {.name = "config check",
       .summary = "Say whether a configuration file is right, and if not, where and why",
       .details = "Example:\n  octet config check octet.yaml\n\n"
                  "Exit codes: 0 the file is right, 2 it is not (the reason is on the standard "
                  "error).\n",
       .arguments = {FileArgument()},
       .prepare = PrepareCheck},
      {.name = "config explain",
       .summary = "Show every setting with its value, where that comes from, and its meaning",
       .details = "Example:\n  octet config explain octet.yaml\n\n"
                  "Exit codes: 0 done, 2 the file is wrong.\n",
       .arguments = {FileArgument()},
       .prepare = PrepareExplain},
      {.name = "config reference",
       .summary = "Print the reference of all settings (Markdown)",
       .details = "Example:\n  octet config reference > docs/configuration.md\n",
       .prepare = PrepareReference},
  };
}

}  // namespace octet::server
