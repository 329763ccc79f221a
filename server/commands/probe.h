// octet probe: its arguments.

#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/commands/command.h"

namespace octet::server {

struct ProbeOptions {
  std::string address;  // HOST:PORT
  std::string service;  // empty: the server as a whole
  double timeout = 3;   // seconds
  // PEM files; `authority` turns encryption on, the other two are given together.
  std::string authority, certificate, private_key;
  std::string server_name;  // in the server's certificate; empty: the host of `address`
};

// Returns an error unless the server says that it serves.
absl::Status Probe(const ProbeOptions& options, Console& console);

absl::StatusOr<ProbeOptions> ParseProbeOptions(const Arguments& arguments);

// The command; main() gives it Probe.
Command ProbeCommand(std::function<absl::Status(const ProbeOptions&, Console&)> probe);

}  // namespace octet::server
