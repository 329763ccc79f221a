// octet quantize: its arguments and configuration.

#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/commands/model_options.h"

namespace octet::server {

struct QuantizeOptions {
  ModelOptions model;  // settings.quantization.mode is int8 unless the file says otherwise
  bool compare_algorithms = false;
  std::string output;         // the .qpack file; empty: where quantization.cache says
  std::string report_folder;  // where report.* go; empty: only to the console
};

// Does what the server does when it loads the model, and reports it. Defined with the quantizer's
// front; logging has been set up before the call.
absl::Status Quantize(const QuantizeOptions& options, Console& console);

absl::StatusOr<QuantizeOptions> ParseQuantizeOptions(const Arguments& arguments);

Command QuantizeCommand(std::function<absl::Status(const QuantizeOptions&, Console&)> quantize);

}  // namespace octet::server
