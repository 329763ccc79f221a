// octet serve: its arguments and configuration.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/config/config.h"
#include "server/config/config_file.h"

namespace octet::server {

struct ServeOptions {
  Config config;  // the file's, with the flags over it; something to serve is in it

  // What it was made of, so that the file can be read again while the server runs.
  std::string file;  // path; empty: there is none
  std::string text;  // the file's
  std::vector<FlagValue> flags;
};

// Serves until SIGTERM or SIGINT, then drains. Follows changes of the file, and of the models on
// SIGHUP. Returns an error if the server cannot start or
// breaks down. Defined where the server is assembled; logging has been set up before the call.
absl::Status Serve(const ServeOptions& options, Console& console);

// InvalidArgument (NotFound for a file that is not there) says what is wrong with the arguments or
// with the file.
absl::StatusOr<ServeOptions> ParseServeOptions(const Arguments& arguments);

// The command; main() gives it Serve.
Command ServeCommand(std::function<absl::Status(const ServeOptions&, Console&)> serve);

}  // namespace octet::server
