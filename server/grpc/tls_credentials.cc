#include "server/grpc/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "server/grpc/pem_file.h"
#include "server/log.h"

namespace octet::server {
namespace {

// What the files hold. Thread-safe.
class IdentitySource {
 public:
  IdentitySource(TlsFiles files, ServerIdentity first)
      : files_(std::move(files)), seen_(std::move(first)) {}

  static absl::StatusOr<ServerIdentity> Read(const TlsFiles& files) {
    ServerIdentity identity;
    OCTET_ASSIGN_OR_RETURN(identity.certificate, ReadPemFile(files.certificate, "certificate"));
    OCTET_ASSIGN_OR_RETURN(identity.private_key, ReadPemFile(files.private_key, "private key"));
    if (!files.client_ca.empty()) {
      OCTET_ASSIGN_OR_RETURN(identity.client_ca, ReadPemFile(files.client_ca, "client CA"));
    }
    return identity;
  }

  // gRPC asks whenever a client connects, and first when the port is opened.
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    if (!handed_over_) {
      handed_over_ = true;
      *config = ToConfig(seen_);
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    absl::StatusOr<ServerIdentity> now = Read(files_);
    if (now.ok() && *now == seen_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    absl::Status status = now.status();
    if (now.ok()) {
      seen_ = *std::move(now);
      status = CheckIdentity(seen_);
    }
    if (!status.ok()) {
      if (status != complaint_) {
        LogWarning("certificate not replaced; the one in use stays",
                   {{"reason", status.message()}});
      }
      complaint_ = std::move(status);
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    complaint_ = absl::OkStatus();
    LogInfo("certificate replaced", {{"file", files_.certificate.string()}});
    *config = ToConfig(seen_);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

 private:
  static grpc_ssl_server_certificate_config* ToConfig(const ServerIdentity& identity) {
    const grpc_ssl_pem_key_cert_pair pair = {identity.private_key.c_str(),
                                             identity.certificate.c_str()};
    // gRPC insists on roots; where clients need show no certificate, it does not use them.
    const std::string& roots =
        identity.client_ca.empty() ? identity.certificate : identity.client_ca;
    return grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
  }

  const TlsFiles files_;
  Mutex mutex_;
  bool handed_over_ ABSL_GUARDED_BY(mutex_) = false;
  ServerIdentity seen_ ABSL_GUARDED_BY(mutex_);  // last, in use or refused
  absl::Status complaint_ ABSL_GUARDED_BY(mutex_);
};

grpc_ssl_certificate_config_reload_status Fetch(void* source,
                                                grpc_ssl_server_certificate_config** config) {
  return static_cast<IdentitySource*>(source)->Fetch(config);
}

// grpcpp's own SSL credentials keep the first certificates for good; its file watcher replaces good
// ones by damaged ones. gRPC's core asks a function instead, and keeps what works.
class ReloadingCredentials : public grpc::ServerCredentials {
 public:
  ReloadingCredentials(const TlsFiles& files, ServerIdentity first)
      : source_(files, std::move(first)),
        credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                files.client_ca.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                &Fetch, &source_))) {}
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  IdentitySource source_;
  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> NewTlsCredentials(const TlsFiles& files) {
  OCTET_ASSIGN_OR_RETURN(ServerIdentity first, IdentitySource::Read(files));
  OCTET_RETURN_IF_ERROR(CheckIdentity(first));
  return std::make_shared<ReloadingCredentials>(files, std::move(first));
}

}  // namespace octet::server
