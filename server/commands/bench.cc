#include "server/commands/bench.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/commands/model_command.h"
#include "server/config/spelling.h"
#include "server/config/value_form.h"

namespace octet::server {
namespace {

constexpr char kDetails[] =
    R"(Measures MODEL in process, without the network: runs per second, and percentiles of the time
of a run. With --target it measures a running server instead: each client sends the next of its
requests, whose data are made up, when the last is answered.

Examples:
  octet bench model.onnx
  octet bench model.onnx --config octet.yaml --batch 8 --threads 2 --duration 10
  octet bench --target localhost:8001 --model digits --clients 1,8,32

Exit codes: 0 done, 1 the model cannot be run or no request succeeded, 2 wrong arguments or
configuration.
)";

constexpr int64_t kMaxClients = 4096;

absl::StatusOr<double> ParseDuration(const Arguments& arguments) {
  return arguments.GetReal("--duration", 0.1, 3600, 5);
}

absl::StatusOr<std::vector<int>> ParseClients(const std::string& text) {
  std::vector<int> clients;
  for (const absl::string_view count : absl::StrSplit(text, ',')) {
    const std::optional<int64_t> number = ParseInteger(count);
    if (!number.has_value() || *number < 1 || *number > kMaxClients) {
      return absl::InvalidArgumentError(absl::StrCat("--clients: must be integers from 1 to ",
                                                     kMaxClients, " with commas between them, not ",
                                                     Quoted(text)));
    }
    clients.push_back(static_cast<int>(*number));
  }
  return clients;
}

// What belongs to the other way of measuring must not be there.
absl::Status CheckAbsent(const Arguments& arguments, const std::vector<std::string>& names,
                         absl::string_view why) {
  for (const std::string& name : names) {
    if (arguments.Has(name)) return absl::InvalidArgumentError(absl::StrCat(name, ": ", why));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BenchOptions> ParseBenchOptions(const Arguments& arguments) {
  if (!arguments.Has("MODEL")) return absl::InvalidArgumentError("MODEL or --target is required");
  OCTET_RETURN_IF_ERROR(CheckAbsent(arguments,
                                    {"--model", "--model-version", "--clients", "--rows"},
                                    "is for a running server: --target"));
  BenchOptions options;
  OCTET_ASSIGN_OR_RETURN(options.model, ParseModelOptions(arguments));
  OCTET_ASSIGN_OR_RETURN(options.shapes, ParseInputShapes(arguments));
  OCTET_ASSIGN_OR_RETURN(const int64_t batch, arguments.GetInteger("--batch", 1, 1024, 1));
  OCTET_ASSIGN_OR_RETURN(const int64_t threads, arguments.GetInteger("--threads", 1, 1024, 1));
  OCTET_ASSIGN_OR_RETURN(options.seconds, ParseDuration(arguments));
  options.batch = static_cast<int>(batch);
  options.threads = static_cast<int>(threads);
  return options;
}

absl::StatusOr<BenchServerOptions> ParseBenchServerOptions(const Arguments& arguments) {
  OCTET_RETURN_IF_ERROR(CheckAbsent(arguments, {"MODEL", "--config", "--batch", "--threads"},
                                    "is for a measurement in process, without --target"));
  BenchServerOptions options;
  options.address = arguments.Get("--target");
  options.model = arguments.Get("--model");
  if (options.model.empty()) {
    return absl::InvalidArgumentError("--model: the model's name on the server is required");
  }
  options.version = arguments.Get("--model-version");
  if (arguments.Has("--clients")) {
    OCTET_ASSIGN_OR_RETURN(options.clients, ParseClients(arguments.Get("--clients")));
  }
  OCTET_ASSIGN_OR_RETURN(options.shapes, ParseInputShapes(arguments));
  OCTET_ASSIGN_OR_RETURN(const int64_t rows, arguments.GetInteger("--rows", 1, 65536, 1));
  OCTET_ASSIGN_OR_RETURN(options.seconds, ParseDuration(arguments));
  options.rows = static_cast<int>(rows);
  return options;
}

Command BenchCommand(BenchFunctions functions) {
  Argument model = ModelArgument();
  model.required = false;
  auto in_process =
      PrepareModelCommand<BenchOptions>(ParseBenchOptions, std::move(functions.in_process));
  return {
      .name = "bench",
      .summary = "Measure a model in process, or a server: throughput and percentiles",
      .details = kDetails,
      .arguments =
          {model,
           ConfigArgument(),
           ShapeArgument(),
           {.name = "--batch", .value = "N", .help = "In process: rows per run (default 1)"},
           {.name = "--threads", .value = "N", .help = "In process: threads per run (default 1)"},
           {.name = "--duration",
            .value = "SECONDS",
            .help = "How long to measure (default 5), for each count of clients"},
           {.name = "--target", .value = "HOST:PORT", .help = "Measure the gRPC server there"},
           {.name = "--model", .value = "NAME", .help = "Server: the model's name"},
           {.name = "--model-version",
            .value = "V",
            .help = "Server: the model's version (default: the server's choice)"},
           {.name = "--clients",
            .value = "N,N,...",
            .help = "Server: clients at the same time (default 1,8,32)"},
           {.name = "--rows", .value = "N", .help = "Server: rows per request (default 1)"}},
      .prepare = [in_process = std::move(in_process), server = std::move(functions.server)](
                     const Arguments& arguments) -> absl::StatusOr<Action> {
        if (!arguments.Has("--target")) return in_process(arguments);
        OCTET_ASSIGN_OR_RETURN(BenchServerOptions options, ParseBenchServerOptions(arguments));
        return [server, options = std::move(options)](Console& console) {
          return server(options, console);
        };
      }};
}

}  // namespace octet::server
