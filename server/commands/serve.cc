#include "server/commands/serve.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "server/config/config_file.h"
#include "server/log.h"

namespace octet::server {
namespace {

// The flags that stand for settings of the file, and which.
struct SettingFlag {
  const char* flag;
  const char* path;
  const char* value;
  const char* help;
};

constexpr SettingFlag kSettingFlags[] = {
    {"--model-repository", "model_repository", "DIR", "Folder of models (NAME/VERSION/model.onnx)"},
    {"--mode", "quantization.mode", "MODE",
     "What models are turned into: fp32, bf16, int8, int4 or auto (default fp32)"},
    {"--grpc-port", "server.grpc_port", "N",
     "Port of the inference service; 0 takes any free port (default 8001)"},
    {"--http-port", "server.http_port", "N",
     "Port of /metrics and /healthz; 0 takes any free port (default 8002)"},
};

constexpr char kDetails[] =
    R"(Flags win over the file. --config or --model-repository must be there.

Examples:
  octet serve --model-repository models --mode int8
  octet serve --config octet.yaml
  octet serve --config octet.yaml --model-repository /models --grpc-port 9001

A configuration file can be as short as
  model_repository: models
  quantization: {mode: int8}
`octet config reference` lists every setting.

A change of the file is taken up while the server runs; SIGHUP does so at once. Models whose settings
changed are loaded in the background and then replace the old ones.

Health: http://HOST:8002/healthz/ready. Metrics: http://HOST:8002/metrics. SIGTERM finishes the
requests in flight and exits.

Exit codes: 0 stopped by a signal, 1 failed while running, 2 wrong arguments or configuration.
)";

}  // namespace

absl::StatusOr<ServeOptions> ParseServeOptions(const Arguments& arguments) {
  if (!arguments.Has("--config") && !arguments.Has("--model-repository")) {
    return absl::InvalidArgumentError("serve needs --config FILE, --model-repository DIR, or both");
  }
  std::vector<FlagValue> flags;
  for (const SettingFlag& row : kSettingFlags) {
    if (arguments.Has(row.flag)) flags.push_back({row.flag, row.path, arguments.Get(row.flag)});
  }
  ServeOptions options{.file = arguments.Get("--config"), .flags = std::move(flags)};
  LoadedConfig loaded;
  if (options.file.empty()) {
    OCTET_ASSIGN_OR_RETURN(loaded, LoadConfig("", options.flags));
  } else {
    OCTET_ASSIGN_OR_RETURN(options.text, ReadConfigText(options.file));
    OCTET_ASSIGN_OR_RETURN(loaded, ParseConfig(options.text, options.file, options.flags));
  }
  OCTET_RETURN_IF_ERROR(
      Annotate(CheckServable(loaded.config), options.file.empty() ? "serve" : options.file));
  options.config = std::move(loaded.config);
  return options;
}

Command ServeCommand(std::function<absl::Status(const ServeOptions&, Console&)> serve) {
  Command command{.name = "serve",
                  .summary = "Serve models over gRPC (Open Inference Protocol, KServe v2)",
                  .details = kDetails};
  command.arguments.push_back(
      {.name = "--config", .value = "FILE", .help = "Configuration file (YAML)"});
  for (const SettingFlag& row : kSettingFlags) {
    command.arguments.push_back({.name = row.flag, .value = row.value, .help = row.help});
  }
  command.prepare = [serve =
                         std::move(serve)](const Arguments& arguments) -> absl::StatusOr<Action> {
    OCTET_ASSIGN_OR_RETURN(ServeOptions options, ParseServeOptions(arguments));
    return [serve, options = std::move(options)](Console& console) {
      SetUpLogging(options.config.log);
      return serve(options, console);
    };
  };
  return command;
}

}  // namespace octet::server
