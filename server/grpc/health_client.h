// A client of gRPC's health checking protocol. This header is free of grpcpp.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace octet::server {

struct HealthTarget {
  std::string address;  // HOST:PORT
  std::string service;  // empty: the server as a whole
  absl::Duration timeout = absl::Seconds(3);

  // PEM files. With `authority`, the connection is encrypted and the server's certificate must be
  // signed by it; `certificate` and `private_key` are what the server is shown.
  struct Tls {
    std::string authority, certificate, private_key;
    std::string server_name;  // in the server's certificate; empty: the host of `address`
  } tls;
};

// OkStatus if the server says that it serves.
//   FailedPrecondition  it says that it does not
//   NotFound            it does not know the service
//   InvalidArgument     a file that cannot be read
//   others              as the call ended: Unavailable, DeadlineExceeded, Unimplemented
absl::Status CheckHealth(const HealthTarget& target);

}  // namespace octet::server
