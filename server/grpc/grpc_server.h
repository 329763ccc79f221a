// The gRPC port: inference, health and reflection. This header is free of grpcpp.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"

namespace octet::server {

// PEM files. Without a certificate the port is not encrypted; with a client CA, clients must show a
// certificate that it signed. They may be replaced while the server runs (see tls_credentials.h).
struct TlsFiles {
  std::filesystem::path certificate;
  std::filesystem::path private_key;
  std::filesystem::path client_ca;
};

// Loads a model again, with the settings of the configuration and, over them, those of `config`
// (the request's parameter of that name, if any). Calls `done` once, on any thread; does not wait
// for the load.
using LoadModelFn =
    std::function<void(const std::string& model, const std::optional<std::string>& config,
                       std::function<void(const absl::Status&)> done)>;

struct GrpcServerOptions {
  std::string address = "0.0.0.0";
  int port = 8001;  // 0: any that is free
  int64_t max_request_bytes = int64_t{64} << 20;
  // A connection of this age, give or take a tenth, takes no further requests and ends with those
  // it has; the client connects anew for the next.
  absl::Duration max_connection_age = absl::InfiniteDuration();
  TlsFiles tls;
  bool reflection = true;
  std::string version;  // of the server, for ServerMetadata

  LoadModelFn load_model;  // RepositoryModelLoad; empty: refused
};

class GrpcServer {
 public:
  // Opens the port. Health starts as NOT_SERVING. `models` and `metrics` outlive the server.
  //   InvalidArgument  certificate files that cannot be read or used
  //   Unavailable      the port cannot be opened
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           ModelManager& models,
                                                           MetricsRegistry& metrics);

  // Shuts down at once.
  ~GrpcServer();

  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  int port() const;

  // What grpc.health.v1 answers, for the server and for the service. Thread-safe; does nothing
  // after Shutdown().
  void SetServing(bool serving);

  // Closes the port, lets calls finish until `deadline`, cancels those that have not, and returns
  // when none is left. Those that are cancelled need the models' streams to run.
  void Shutdown(absl::Time deadline);

 private:
  struct Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace octet::server
