#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/commands/bench.h"
#include "server/grpc/load_client.h"

namespace octet::server {
namespace {

std::string DescribeErrors(const LoadResult& result) {
  std::string text;
  for (const auto& [code, count] : result.errors) {
    absl::StrAppendFormat(&text, "%s%s %d", text.empty() ? "" : ", ",
                          absl::StatusCodeToString(code), count);
  }
  return text.empty() ? "0" : text;
}

std::string Row(int clients, const LoadResult& result) {
  const LatencyHistogram& latencies = result.latencies;
  return absl::StrFormat("%7d %10.1f %10.1f %9.3f %9.3f %9.3f %11s  %s\n", clients,
                         static_cast<double>(latencies.count()) / result.seconds,
                         static_cast<double>(result.rows) / result.seconds,
                         latencies.Quantile(0.5) * 1e3, latencies.Quantile(0.9) * 1e3,
                         latencies.Quantile(0.99) * 1e3,
                         result.mean_batch > 0 ? absl::StrFormat("%.2f", result.mean_batch) : "-",
                         DescribeErrors(result));
}

}  // namespace

absl::Status BenchServer(const BenchServerOptions& options, Console& console) {
  LoadTarget target{.address = options.address,
                    .model = options.model,
                    .request = {.version = options.version, .rows = options.rows}};
  for (const InputShape& shape : options.shapes) {
    target.request.shapes.emplace_back(shape.input, shape.shape);
  }
  OCTET_ASSIGN_OR_RETURN(const std::unique_ptr<LoadClient> client, LoadClient::Connect(target));
  console.out << absl::StrFormat(
      "%s at %s, %d row%s per request, %g s for each count of clients\n"
      "clients      req/s     rows/s    p50 ms    p90 ms    p99 ms  mean batch  errors\n",
      options.model, options.address, options.rows, options.rows == 1 ? "" : "s", options.seconds);
  for (const int clients : options.clients) {
    OCTET_ASSIGN_OR_RETURN(const LoadResult result,
                           client->Run(clients, absl::Seconds(options.seconds)));
    console.out << Row(clients, result) << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace octet::server
