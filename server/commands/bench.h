// octet bench: its arguments and configuration, in process and against a server.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/commands/command.h"
#include "server/commands/model_options.h"

namespace octet::server {

// A measurement in process.
struct BenchOptions {
  ModelOptions model;
  std::vector<InputShape> shapes;
  int batch = 1;       // rows per run
  int threads = 1;     // that work on one run
  double seconds = 5;  // measured, after a warm-up
};

// A measurement of a running server.
struct BenchServerOptions {
  std::string address;  // HOST:PORT
  std::string model;
  std::string version;                    // empty: the server chooses
  std::vector<int> clients = {1, 8, 32};  // at the same time; each count is measured
  std::vector<InputShape> shapes;
  int rows = 1;        // per request
  double seconds = 5;  // measured for each count, after a warm-up
};

// Measures the model in process: throughput and percentiles of the time of a run. Logging has been
// set up before the call.
absl::Status Bench(const BenchOptions& options, Console& console);

// Sends made-up requests to a server: throughput, percentiles of the latency, errors, batches.
absl::Status BenchServer(const BenchServerOptions& options, Console& console);

// The functions that measure.
struct BenchFunctions {
  std::function<absl::Status(const BenchOptions&, Console&)> in_process;
  std::function<absl::Status(const BenchServerOptions&, Console&)> server;
};

absl::StatusOr<BenchOptions> ParseBenchOptions(const Arguments& arguments);
absl::StatusOr<BenchServerOptions> ParseBenchServerOptions(const Arguments& arguments);

Command BenchCommand(BenchFunctions functions);

}  // namespace octet::server
