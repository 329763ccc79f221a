// octet inspect: its arguments and configuration.

#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/commands/model_options.h"

namespace octet::server {

struct InspectOptions {
  ModelOptions model;
  std::vector<InputShape>
      shapes;  // of inputs with symbolic dimensions; others: as the server picks
};

// Shows the plan that would serve the model: kernels, layouts, bytes, time per node, share of
// multiply-accumulates in int8. Logging has been set up before the call.
absl::Status Inspect(const InspectOptions& options, Console& console);

absl::StatusOr<InspectOptions> ParseInspectOptions(const Arguments& arguments);

Command InspectCommand(std::function<absl::Status(const InspectOptions&, Console&)> inspect);

}  // namespace octet::server
