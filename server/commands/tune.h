// octet tune: its arguments and configuration.

#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/commands/model_options.h"

namespace octet::server {

// What the chosen configuration is best in, of those that hold the accuracy target.
enum class TuneObjective : uint8_t { kLatency, kBytes, kAccuracy };

struct TuneOptions {
  ModelOptions model;  // settings.quantization is where the exploration starts
  double seconds = 120;
  TuneObjective objective = TuneObjective::kLatency;
  std::string output;  // the chosen configuration goes there; empty: only to the console
};

// Measures configurations of the model, prints the Pareto front and writes the chosen one. Logging
// has been set up before the call.
absl::Status Tune(const TuneOptions& options, Console& console);

absl::StatusOr<TuneOptions> ParseTuneOptions(const Arguments& arguments);

Command TuneCommand(std::function<absl::Status(const TuneOptions&, Console&)> tune);

}  // namespace octet::server
