#include "server/commands/probe.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::server {
namespace {

constexpr char kDefaultAddress[] = "127.0.0.1:8001";

constexpr char kDetails[] =
    R"(Asks a server with gRPC's health protocol: Octet serves when every configured model is ready.
For health checks of containers, and for scripts that wait for a server.

Examples:
  octet probe
  octet probe --address octet:8001 --service inference.GRPCInferenceService
  octet probe --tls-ca ca.crt --tls-server-name octet.example.org

Exit codes: 0 it serves, 1 it does not or cannot be reached, 2 wrong arguments.
)";

}  // namespace

absl::StatusOr<ProbeOptions> ParseProbeOptions(const Arguments& arguments) {
  ProbeOptions options;
  options.address = arguments.Has("--address") ? arguments.Get("--address") : kDefaultAddress;
  options.service = arguments.Get("--service");
  OCTET_ASSIGN_OR_RETURN(options.timeout, arguments.GetReal("--timeout", 0.01, 3600, 3));
  options.authority = arguments.Get("--tls-ca");
  options.certificate = arguments.Get("--tls-certificate");
  options.private_key = arguments.Get("--tls-key");
  options.server_name = arguments.Get("--tls-server-name");
  if (options.certificate.empty() != options.private_key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key are given together");
  }
  for (const char* const name : {"--tls-certificate", "--tls-server-name"}) {
    if (options.authority.empty() && arguments.Has(name)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": needs --tls-ca"));
    }
  }
  return options;
}

Command ProbeCommand(std::function<absl::Status(const ProbeOptions&, Console&)> probe) {
  return {
      .name = "probe",
      .summary = "Ask whether a server is ready, with gRPC's health protocol",
      .details = kDetails,
      .arguments = {{.name = "--address",
                     .value = "HOST:PORT",
                     .help = absl::StrCat("The server (default ", kDefaultAddress, ")")},
                    {.name = "--service",
                     .value = "NAME",
                     .help = "The service asked about (default: the server as a whole)"},
                    {.name = "--timeout",
                     .value = "SECONDS",
                     .help = "How long to wait for the answer (default 3)"},
                    {.name = "--tls-ca",
                     .value = "FILE",
                     .help = "Encrypt, and trust certificates that this one (PEM) signed"},
                    {.name = "--tls-certificate",
                     .value = "FILE",
                     .help = "The certificate (PEM) shown to a server that demands one"},
                    {.name = "--tls-key", .value = "FILE", .help = "Its private key (PEM)"},
                    {.name = "--tls-server-name",
                     .value = "NAME",
                     .help = "The name in the server's certificate (default: HOST)"}},
      .prepare = [probe = std::move(probe)](const Arguments& arguments) -> absl::StatusOr<Action> {
        OCTET_ASSIGN_OR_RETURN(ProbeOptions options, ParseProbeOptions(arguments));
        return [probe, options = std::move(options)](Console& console) {
          return probe(options, console);
        };
      }};
}

}  // namespace octet::server
