#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "kernels/cpu.h"
#include "server/commands/serve.h"
#include "server/config/config_changes.h"
#include "server/engine/config_reloader.h"
#include "server/engine/config_watcher.h"
#include "server/engine/load_options.h"
#include "server/engine/model_loader.h"
#include "server/log.h"
#include "server/process_memory.h"
#include "server/server.h"

namespace octet::server {
namespace {

VersionSelection ToVersionSelection(const VersionPolicyConfig& config) {
  VersionSelection policy;
  policy.kind = static_cast<VersionSelection::Kind>(config.kind);
  policy.latest = config.latest;
  policy.versions = config.versions;
  return policy;
}

ModelSettings ToModelSettings(const ModelConfig& model) {
  return {.versions = ToVersionSelection(model.version_policy),
          .batching = {.max_batch_size = model.batching.max_batch_size,
                       .max_queue_delay =
                           absl::Microseconds(model.batching.max_queue_delay_microseconds),
                       .max_queue_size = model.batching.max_queue_size,
                       .streams = ResolveExecution(model.execution).streams},
          .fingerprint = LoadedSettings(model)};
}

// What a running server can take up.
ModelManagerOptions ToModels(const Config& config, const ReplaceModel& replace) {
  ModelManagerOptions options;
  options.repository = config.model_repository;
  options.defaults = ToModelSettings(config.ForModel(""));
  options.strict_readiness = config.server.strict_readiness;
  options.loader = MakeModelLoader(config, replace);
  for (const ModelConfig& model : config.models) {
    options.models.push_back({model.name, model.path, ToModelSettings(model)});
  }
  return options;
}

ServerOptions ToServerOptions(const Config& config, const ReplaceModel& replace) {
  const ServerConfig& server = config.server;
  ServerOptions options{
      .grpc = {.address = server.address,
               .port = server.grpc_port,
               .max_request_bytes = server.max_request_bytes,
               .max_connection_age = server.max_connection_age_seconds > 0
                                         ? absl::Seconds(server.max_connection_age_seconds)
                                         : absl::InfiniteDuration(),
               .tls = {.certificate = server.tls.certificate,
                       .private_key = server.tls.key,
                       .client_ca = server.tls.client_ca},
               .version = OCTET_VERSION},
      .http_port = server.http_port,
      .drain = absl::Seconds(server.drain_seconds),
      .isa = kernels::InstructionSet(),
      .onednn_version = kernels::OneDnnVersion(),
      .cores = UsableCores()};
  options.models = ToModels(config, replace);
  return options;
}

std::string NumpyType(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kFloat64:
      return "float64";
    case DataType::kFloat16:
      return "float16";
    case DataType::kBool:
      return "bool";
    default: {
      std::string name(Name(type));
      for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
      return name;
    }
  }
}

// A call in Python that works as it is pasted.
std::string ClientCall(const ServableModel& servable, int port) {
  const runtime::CompiledModel& model = servable.model();
  std::string code = absl::StrFormat(
      "  import numpy as np, tritonclient.grpc as grpc\n"
      "  client = grpc.InferenceServerClient('localhost:%d')\n"
      "  inputs = []\n",
      port);
  for (const runtime::TensorSpec& input : model.inputs()) {
    Shape shape = input.shape;
    for (int64_t& dim : shape) dim = dim == kUnknownDim ? 1 : dim;
    const std::string dims = absl::StrJoin(shape, ", ");
    absl::StrAppendFormat(&code,
                          "  x = grpc.InferInput('%s', [%s], '%s')\n"
                          "  x.set_data_from_numpy(np.zeros([%s], '%s')); inputs.append(x)\n",
                          input.name, dims, Name(input.dtype), dims, NumpyType(input.dtype));
  }
  absl::StrAppendFormat(&code, "  print(client.infer('%s', inputs).as_numpy('%s'))\n",
                        servable.name(), model.outputs().front().name);
  return code;
}

void PrintModels(Server& server, Console& console) {
  for (const ModelStatus& status : server.models().Index()) {
    if (status.state == ModelState::kFailed) {
      console.out << "  " << status.name << "/" << status.version << "  FAILED: " << status.reason
                  << "\n";
    }
  }
  const auto ready = server.models().Ready();
  for (const auto& servable : ready) {
    const runtime::CompiledModel& model = servable->model();
    const runtime::MemoryLedger memory = model.memory();
    const runtime::ModelSummary& summary = model.summary();
    console.out << absl::StrFormat(
        "  %s/%d  %s%s  weights %d of %d bytes  loaded in %.2f s\n", servable->name(),
        servable->version(), summary.mode,
        !summary.calibration.empty()
            ? absl::StrFormat(" (%s, %.0f %% of MACs%s, accuracy target %s)", summary.calibration,
                              100 * (summary.int8_mac_share + summary.bfloat16_mac_share),
                              summary.output_sqnr_db == 0 ? ""
                                                          : absl::StrFormat(", output SQNR %.1f dB",
                                                                            summary.output_sqnr_db),
                              summary.accuracy.verdict)
            : "",
        memory.served_weight_bytes, memory.float32_weight_bytes, summary.load_seconds);
  }
  if (!ready.empty()) {
    console.out << "\nA call from Python (pip install 'tritonclient[grpc]'):\n"
                << ClientCall(*ready.front(), server.grpc_port()) << "\n";
  }
  console.out << std::flush;
}

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and in those that it starts, so that they can be
// waited for.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// Returns the signal that asks to stop; calls `reload` at every SIGHUP.
int AwaitStop(const sigset_t& signals, const std::function<void()>& reload) {
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) return signal;
    reload();
  }
}

void TellAddresses(const Server& server, const std::string& address, Console& console) {
  LogInfo("listening", {{"grpc", absl::StrCat(address, ":", server.grpc_port())},
                        {"http", absl::StrCat(address, ":", server.http_port())},
                        {"isa", kernels::InstructionSet()}});
  console.out << absl::StrFormat(
                     "gRPC  %s:%d (Open Inference Protocol, KServe v2)\n"
                     "HTTP  http://%s:%d/metrics /healthz/live /healthz/ready\n",
                     address, server.grpc_port(), address, server.http_port())
              << std::flush;
}

// Ends the process if a model is being loaded: that can take minutes and has nothing to save.
void DrainOrExit(Server& server, Console& console) {
  server.Drain();
  if (server.models().AwaitLoads(absl::InfinitePast())) return;
  LogInfo("stopped while loading");
  console.out << std::flush;
  std::_Exit(0);
}

}  // namespace

absl::Status Serve(const ServeOptions& options, Console& console) {
  KeepFreedMemory();
  const sigset_t signals = BlockSignals();
  // Models are loaded before their manager can be told of.
  const auto manager = std::make_shared<std::atomic<ModelManager*>>(nullptr);
  const ReplaceModel replace = [manager](const ModelSource& source, ModelLoader loader) {
    ModelManager* const models = manager->load();
    return models != nullptr && models->Replace(source, std::move(loader));
  };
  ConfigReloader reloader(options,
                          [replace](const Config& config) { return ToModels(config, replace); });
  ServerOptions server_options = ToServerOptions(options.config, replace);
  if (options.config.server.model_control) {
    server_options.grpc.load_model = [&reloader](const auto& model, const auto& config,
                                                 const auto& done) {
      reloader.LoadModel(model, config, done);
    };
  }
  OCTET_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                         Server::Start(std::move(server_options)));
  reloader.Attach(server->models(), server->metrics());
  manager->store(&server->models());
  const auto apply = [&reloader](const absl::StatusOr<std::string>& text) {
    // What is wrong is in the log and in the metrics, and everything is as it was.
    reloader.Apply(text).IgnoreError();
  };
  std::unique_ptr<ConfigWatcher> watcher;
  if (!options.file.empty()) {
    OCTET_ASSIGN_OR_RETURN(watcher, ConfigWatcher::Start(options.file, options.text, apply));
  }
  TellAddresses(*server, options.config.server.address, console);
  // The summary needs the models; a signal may come first.
  std::thread summary([&] {
    server->models().AwaitLoads(absl::InfiniteFuture());
    PrintModels(*server, console);
  });
  const int signal = AwaitStop(signals, [&] {
    if (watcher != nullptr) return watcher->CheckNow();
    apply("");
  });
  watcher.reset();
  LogInfo("draining", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  // Who asks a second time does not want to wait.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  DrainOrExit(*server, console);
  summary.join();
  LogInfo("stopped");
  return absl::OkStatus();
}

}  // namespace octet::server
