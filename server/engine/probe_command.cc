#include "base/status.h"
#include "server/commands/probe.h"
#include "server/grpc/health_client.h"

namespace octet::server {

absl::Status Probe(const ProbeOptions& options, Console& console) {
  OCTET_RETURN_IF_ERROR(CheckHealth({.address = options.address,
                                     .service = options.service,
                                     .timeout = absl::Seconds(options.timeout),
                                     .tls = {.authority = options.authority,
                                             .certificate = options.certificate,
                                             .private_key = options.private_key,
                                             .server_name = options.server_name}}));
  console.out << options.address << ": SERVING\n";
  return absl::OkStatus();
}

}  // namespace octet::server
