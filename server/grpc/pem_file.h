// Certificates and keys as they are in files.

#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::server {

// The file's text. InvalidArgument "tls: WHAT PATH cannot be read, or is empty".
absl::StatusOr<std::string> ReadPemFile(const std::filesystem::path& path, absl::string_view what);

// What a server shows its clients, as text in PEM, and what it demands of them.
struct ServerIdentity {
  std::string certificate, private_key;
  std::string client_ca;  // empty: nothing is demanded

  bool operator==(const ServerIdentity&) const = default;
};

// InvalidArgument unless certificates and keys can be parsed and the key is the certificate's. Keys
// with a passphrase are refused.
absl::Status CheckIdentity(const ServerIdentity& identity);

}  // namespace octet::server
