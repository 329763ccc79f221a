// octet bench: its arguments and configuration.

#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/commands/model_options.h"

namespace octet::server {

struct BenchOptions {
  ModelOptions model;
  std::vector<InputShape> shapes;
  int batch = 1;       // rows per run
  int threads = 1;     // that work on one run
  double seconds = 5;  // measured, after a warm-up
};

// Measures the model in process: throughput and percentiles of the time of a run. Logging has been
// set up before the call.
absl::Status Bench(const BenchOptions& options, Console& console);

absl::StatusOr<BenchOptions> ParseBenchOptions(const Arguments& arguments);

Command BenchCommand(std::function<absl::Status(const BenchOptions&, Console&)> bench);

}  // namespace octet::server
