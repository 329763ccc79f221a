// TLS for a server, with certificates that may be replaced while it runs.

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/security/server_credentials.h"
#include "server/grpc/grpc_server.h"

namespace octet::server {

// The files are looked at when a client connects: new ones are used from then on, by new
// connections; those that exist go on. Files that are damaged, missing, or do not belong together
// change nothing: the last good ones stay in use, and the log says why, once. So any way of
// replacing them will do, one after the other too. InvalidArgument if the first ones are not good.
// The credentials must outlive the server, which does not see to that itself.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> NewTlsCredentials(const TlsFiles& files);

}  // namespace octet::server
