// Rows of `server` and `log`.

#include <limits>

#include "server/config/fields.h"

namespace octet::server {
namespace {

constexpr int kMaxPort = 65535;

const Fields<TlsConfig>& TlsFields() {
  static const auto* const kFields = new Fields<TlsConfig>{
      Value("certificate", &TlsConfig::certificate, Path("the path of a PEM file"),
            "The server's certificate chain. Setting it turns TLS on for gRPC."),
      Value("key", &TlsConfig::key, Path("the path of a PEM file"),
            "The private key of that certificate."),
      Value("client_ca", &TlsConfig::client_ca, Path("the path of a PEM file"),
            "Certificate authority of the clients. Setting it refuses clients that show no "
            "certificate signed by it."),
  };
  return *kFields;
}

std::string CheckTls(const TlsConfig& tls) {
  if (tls.certificate.empty() != tls.key.empty()) {
    return absl::StrCat("certificate and key belong together, but ",
                        tls.key.empty() ? "key" : "certificate", " is missing");
  }
  if (!tls.client_ca.empty() && !tls.enabled()) return "client_ca needs certificate and key";
  return "";
}

}  // namespace

const Fields<ServerConfig>& ServerFields() {
  static const auto* const kFields = new Fields<ServerConfig>{
      Value("address", &ServerConfig::address, Text("an address or host name"),
            "Address that both ports listen on; 0.0.0.0 is every IPv4 address of the machine, '::' "
            "every address."),
      Value("grpc_port", &ServerConfig::grpc_port, Integer<int>(0, kMaxPort),
            "Port of the inference service; 0 takes any free port."),
      Value("http_port", &ServerConfig::http_port, Integer<int>(0, kMaxPort),
            "Port of /metrics, /healthz/live and /healthz/ready; 0 takes any free port."),
      Value("max_request_bytes", &ServerConfig::max_request_bytes,
            Integer<int64_t>(1024, std::numeric_limits<int32_t>::max()),
            "Largest request message; a larger one is answered RESOURCE_EXHAUSTED."),
      Value("drain_seconds", &ServerConfig::drain_seconds, Integer<int>(0, 3600),
            "Longest that requests in flight are waited for after SIGTERM."),
      Value("max_connection_age_seconds", &ServerConfig::max_connection_age_seconds,
            Integer<int>(0, 86'400),
            "Longest that a gRPC connection lasts: after it, give or take a tenth, clients connect "
            "anew, and a load balancer may send them elsewhere. No request is lost by it. 0: no "
            "limit."),
      Value("strict_readiness", &ServerConfig::strict_readiness, Boolean(),
            "Whether a model that fails to load keeps the whole server from being ready."),
      Value("model_control", &ServerConfig::model_control, Boolean(),
            "Whether clients may have a model loaded again, with other quantization if they like "
            "(RepositoryModelLoad)."),
      Section("tls", &ServerConfig::tls, TlsFields(), "Encryption of the gRPC port.", CheckTls),
  };
  return *kFields;
}

const Fields<LogConfig>& LogFields() {
  static const auto* const kFields = new Fields<LogConfig>{
      Value("level", &LogConfig::level,
            Choice<LogLevel>({{"debug", LogLevel::kDebug},
                              {"info", LogLevel::kInfo},
                              {"warning", LogLevel::kWarning},
                              {"error", LogLevel::kError}}),
            "The least severe messages that are written."),
      Value("format", &LogConfig::format,
            Choice<LogFormat>({{"text", LogFormat::kText}, {"json", LogFormat::kJson}}),
            "Lines to read, or one JSON object per line. Both go to the standard error."),
  };
  return *kFields;
}

}  // namespace octet::server
