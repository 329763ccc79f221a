// The server as a whole: models, the gRPC port and the HTTP port, from start to drained.

#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/grpc/grpc_server.h"
#include "server/http/http_server.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"

namespace octet::server {

struct ServerOptions {
  GrpcServerOptions grpc;
  int http_port = 8002;  // on the address of the gRPC port; 0: any that is free
  absl::Duration drain = absl::Seconds(30);
  ModelManagerOptions models;
  std::string isa, onednn_version;  // for octet_build_info
  int cores = 1;                    // for octet_process_cpu_cores
};

// Thread-safe.
class Server {
 public:
  // Opens both ports at once, then loads the models in the background: probes and clients see the
  // server as alive and not yet ready. Errors are those of ModelManager::Create, GrpcServer::Start
  // and HttpServer::Start.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);
  ~Server();

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int grpc_port() const { return grpc_->port(); }
  int http_port() const { return http_->port(); }
  ModelManager& models() { return *models_; }
  MetricsRegistry& metrics() { return *metrics_; }

  // Stops in an order that loses no request: not ready (health, /healthz/ready), new requests are
  // refused as UNAVAILABLE, accepted ones are finished, then the port closes. Requests that are not
  // finished when the drain time is over are cancelled. Returns when nothing runs any more.
  void Drain();

 private:
  Server() = default;
  void UpdateHealth();

  absl::Duration drain_;
  std::unique_ptr<MetricsRegistry> metrics_;
  std::unique_ptr<ModelManager> models_;
  std::unique_ptr<GrpcServer> grpc_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace octet::server
