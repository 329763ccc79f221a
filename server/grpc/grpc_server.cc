#include "server/grpc/grpc_server.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status.h"
#include "google/protobuf/stubs/logging.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/grpc/infer_service.h"
#include "server/grpc/tls_credentials.h"

namespace octet::server {
namespace {

constexpr char kServiceName[] = "inference.GRPCInferenceService";

// Protobuf would write a line for every string of a client that is not UTF-8.
void IgnoreProtobufLog(google::protobuf::LogLevel, const char*, int, const std::string&) {}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(const TlsFiles& tls) {
  if (tls.certificate.empty() && tls.private_key.empty() && tls.client_ca.empty()) {
    return grpc::InsecureServerCredentials();
  }
  return NewTlsCredentials(tls);
}

// IPv6 addresses are written in brackets where a port follows.
std::string Endpoint(const std::string& address, int port) {
  const bool bare_ipv6 = address.find(':') != std::string::npos && address.front() != '[';
  return absl::StrCat(bare_ipv6 ? absl::StrCat("[", address, "]") : address, ":", port);
}

void SetOptions(const GrpcServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<int64_t>(options.max_request_bytes, std::numeric_limits<int>::max())));
  builder.SetMaxSendMessageSize(-1);
  // Two servers on one port must be an error, not a lottery.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  // Dead peers are noticed, and pings of common client settings do not earn a GOAWAY.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  if (options.max_connection_age < absl::InfiniteDuration()) {
    builder.AddChannelArgument(
        GRPC_ARG_MAX_CONNECTION_AGE_MS,
        static_cast<int>(absl::ToInt64Milliseconds(options.max_connection_age)));
  }
}

}  // namespace

struct GrpcServer::Impl {
  std::shared_ptr<grpc::ServerCredentials> credentials;  // asked for certificates by the server
  std::unique_ptr<grpc::Service> service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  Mutex mutex;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GrpcServer::~GrpcServer() { Shutdown(absl::InfinitePast()); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              ModelManager& models,
                                                              MetricsRegistry& metrics) {
  google::protobuf::SetLogHandler(&IgnoreProtobufLog);
  grpc::EnableDefaultHealthCheckService(true);
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  auto impl = std::make_unique<Impl>();
  OCTET_ASSIGN_OR_RETURN(impl->credentials, Credentials(options.tls));
  impl->service = NewInferService(models, metrics, options.version, options.load_model);
  grpc::ServerBuilder builder;
  SetOptions(options, builder);
  const std::string endpoint = Endpoint(options.address, options.port);
  builder.AddListeningPort(endpoint, impl->credentials, &impl->port);
  builder.RegisterService(impl->service.get());
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || impl->port <= 0) {
    return absl::UnavailableError(
        absl::StrCat("gRPC cannot listen on ", endpoint,
                     ": the port is taken, or the address is not this machine's"));
  }
  std::unique_ptr<GrpcServer> server(new GrpcServer(std::move(impl)));
  server->SetServing(false);
  return server;
}

int GrpcServer::port() const { return impl_->port; }

void GrpcServer::SetServing(bool serving) {
  const MutexLock lock(impl_->mutex);
  if (impl_->stopped) return;
  grpc::HealthCheckServiceInterface* const health = impl_->server->GetHealthCheckService();
  if (health == nullptr) return;
  health->SetServingStatus(serving);
  health->SetServingStatus(kServiceName, serving);
}

void GrpcServer::Shutdown(absl::Time deadline) {
  {
    const MutexLock lock(impl_->mutex);
    if (impl_->stopped) return;
    impl_->stopped = true;
  }
  impl_->server->Shutdown(absl::ToChronoTime(std::max(deadline, absl::UnixEpoch())));
  impl_->server->Wait();
}

}  // namespace octet::server
