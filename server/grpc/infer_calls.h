// The calls that carry tensors, ModelInfer and ModelStreamInfer, as reactors on raw bytes.
//
// A reactor never computes and never waits: gRPC's threads are shared by all calls. It destroys
// itself when gRPC is done with it.

#pragma once

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"

namespace octet::server {

grpc::ServerUnaryReactor* StartUnaryInfer(const ModelManager& models, MetricsRegistry& metrics,
                                          const grpc::CallbackServerContext& context,
                                          const grpc::ByteBuffer& request,
                                          grpc::ByteBuffer& response);

// One reply per request, in the order in which they are ready; a request that fails is answered
// with its error, and the stream goes on.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartStreamInfer(
    const ModelManager& models, MetricsRegistry& metrics,
    const grpc::CallbackServerContext& context);

}  // namespace octet::server
