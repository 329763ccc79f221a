#include "server/commands/bench.h"

#include <utility>

#include "server/commands/model_command.h"

namespace octet::server {
namespace {

constexpr char kDetails[] =
    R"(Measures MODEL in process, without the network: runs per second, and percentiles of the time
of a run.

Examples:
  octet bench model.onnx
  octet bench model.onnx --config octet.yaml --batch 8 --threads 2 --seconds 10

Exit codes: 0 done, 1 the model cannot be run, 2 wrong arguments or configuration.
)";

}  // namespace

absl::StatusOr<BenchOptions> ParseBenchOptions(const Arguments& arguments) {
  BenchOptions options;
  OCTET_ASSIGN_OR_RETURN(options.model, ParseModelOptions(arguments));
  OCTET_ASSIGN_OR_RETURN(options.shapes, ParseInputShapes(arguments));
  OCTET_ASSIGN_OR_RETURN(const int64_t batch, arguments.GetInteger("--batch", 1, 1024, 1));
  OCTET_ASSIGN_OR_RETURN(const int64_t threads, arguments.GetInteger("--threads", 1, 1024, 1));
  OCTET_ASSIGN_OR_RETURN(options.seconds, arguments.GetReal("--seconds", 0.1, 3600, 5));
  options.batch = static_cast<int>(batch);
  options.threads = static_cast<int>(threads);
  return options;
}

Command BenchCommand(std::function<absl::Status(const BenchOptions&, Console&)> bench) {
  return {
      .name = "bench",
      .summary = "Measure a model in process: throughput and percentiles",
      .details = kDetails,
      .arguments = {ModelArgument(),
                    ConfigArgument(),
                    ShapeArgument(),
                    {.name = "--batch", .value = "N", .help = "Rows per run (default 1)"},
                    {.name = "--threads", .value = "N", .help = "Threads per run (default 1)"},
                    {.name = "--seconds", .value = "S", .help = "How long to measure (default 5)"}},
      .prepare = PrepareModelCommand<BenchOptions>(ParseBenchOptions, std::move(bench))};
}

}  // namespace octet::server
