#include "server/grpc/health_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "proto/health.grpc.pb.h"
#include "server/grpc/pem_file.h"

namespace octet::server {
namespace {

namespace health = grpc::health::v1;

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(
    const HealthTarget::Tls& tls) {
  if (tls.authority.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  OCTET_ASSIGN_OR_RETURN(options.pem_root_certs, ReadPemFile(tls.authority, "CA"));
  if (!tls.certificate.empty()) {
    OCTET_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadPemFile(tls.certificate, "certificate"));
    OCTET_ASSIGN_OR_RETURN(options.pem_private_key, ReadPemFile(tls.private_key, "private key"));
  }
  return grpc::SslCredentials(options);
}

}  // namespace

absl::Status CheckHealth(const HealthTarget& target) {
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                         Credentials(target.tls));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // what is probed is near
  if (!target.tls.server_name.empty()) {
    arguments.SetSslTargetNameOverride(target.tls.server_name);
  }
  const auto stub =
      health::Health::NewStub(grpc::CreateCustomChannel(target.address, credentials, arguments));
  health::HealthCheckRequest request;
  request.set_service(target.service);
  health::HealthCheckResponse response;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + target.timeout));
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) {
    return {static_cast<absl::StatusCode>(status.error_code()),
            absl::StrCat(target.address,
                         target.service.empty() ? "" : absl::StrCat(", service ", target.service),
                         ": ", status.error_message())};
  }
  if (response.status() != health::HealthCheckResponse::SERVING) {
    return absl::FailedPreconditionError(absl::StrCat(
        target.address, ": ", health::HealthCheckResponse::ServingStatus_Name(response.status())));
  }
  return absl::OkStatus();
}

}  // namespace octet::server
