#include "base/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "absl/strings/escaping.h"

namespace octet {

absl::StatusOr<std::string> Sha256Hex(std::span<const std::byte> bytes) {
  std::array<char, 32> digest = {};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size,
                 EVP_sha256(), nullptr) != 1 ||
      size != digest.size()) {
    return absl::InternalError("OpenSSL cannot compute a SHA-256");
  }
  return absl::BytesToHexString(absl::string_view(digest.data(), digest.size()));
}

}  // namespace octet
