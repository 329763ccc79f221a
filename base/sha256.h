// SHA-256, for naming files by their bytes.

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace octet {

// 64 lowercase hexadecimal digits. Internal if OpenSSL cannot compute it.
absl::StatusOr<std::string> Sha256Hex(std::span<const std::byte> bytes);

}  // namespace octet
