// The RPCs of inference.GRPCInferenceService.

#pragma once

#include <memory>
#include <string>

#include "grpcpp/impl/codegen/service_type.h"
#include "server/grpc/grpc_server.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"

namespace octet::server {

// The service answers with `version` as the server's. Everything is borrowed and outlives it.
// Without `load_model` RepositoryModelLoad is refused.
std::unique_ptr<grpc::Service> NewInferService(ModelManager& models, MetricsRegistry& metrics,
                                               std::string version, LoadModelFn load_model);

}  // namespace octet::server
