// The command that parses its options, sets up logging and runs a function on them.

#pragma once

#include <functional>
#include <utility>

#include "base/status.h"
#include "server/commands/command.h"
#include "server/log.h"

namespace octet::server {

// What `prepare` is for commands whose options have a ModelOptions `model`.
template <typename Options>
std::function<absl::StatusOr<Action>(const Arguments&)> PrepareModelCommand(
    absl::StatusOr<Options> (*parse)(const Arguments&),
    std::function<absl::Status(const Options&, Console&)> run) {
  return [parse, run = std::move(run)](const Arguments& arguments) -> absl::StatusOr<Action> {
    OCTET_ASSIGN_OR_RETURN(Options options, parse(arguments));
    return [run, options = std::move(options)](Console& console) {
      SetUpLogging(options.model.log);
      return run(options, console);
    };
  };
}

}  // namespace octet::server
