// A closed-loop load generator: each client sends its next request when the last is answered.
//
// Speaks the Open Inference Protocol and nothing of Octet's own, so any server of it can be
// measured.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/grpc/latency_histogram.h"
#include "server/grpc/load_request.h"

namespace octet::server {

struct LoadTarget {
  std::string address;  // HOST:PORT
  std::string model;
  LoadRequestOptions request;  // `batched` is asked of the server
};

struct LoadResult {
  double seconds = 0;                           // from the first request to the last answer
  uint64_t rows = 0;                            // of the requests that succeeded
  LatencyHistogram latencies;                   // of the same
  std::map<absl::StatusCode, uint64_t> errors;  // requests that failed
  absl::Status first_error;
  // Rows per execution while it was measured, other clients' included; 0 if the server does not
  // say.
  double mean_batch = 0;
};

// Thread-safe; calls of Run() at the same time measure each other.
class LoadClient {
 public:
  virtual ~LoadClient() = default;

  // Asks the server for the model's metadata and makes the request that is sent from then on.
  // Errors are the server's, those of MakeLoadRequest(), or Unavailable if it cannot be reached.
  static absl::StatusOr<std::unique_ptr<LoadClient>> Connect(const LoadTarget& target);

  // Keeps `clients` connections busy for `duration`, after a warm-up of a fifth of that. A client
  // whose request ends as Unavailable gives up. Errors of requests are in the result; the only
  // error returned is that not one request succeeded.
  virtual absl::StatusOr<LoadResult> Run(int clients, absl::Duration duration) = 0;
};

}  // namespace octet::server
