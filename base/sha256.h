// SHA-256, to tell by content whether something has changed.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/strings/string_view.h"

namespace octet {

// Of everything added, in order. Not thread-safe.
class Sha256 {
 public:
  using Digest = std::array<std::byte, 32>;

  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(std::span<const std::byte> bytes);
  void Add(absl::string_view text);
  // Where one part ends and the next begins counts: {"ab", "c"} is not {"a", "bc"}.
  void AddPart(std::span<const std::byte> bytes);
  void AddPart(absl::string_view text);

  // Called once, last. All zero if OpenSSL cannot compute it.
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Sha256::Digest Sha256Of(std::span<const std::byte> bytes);

std::string Hex(const Sha256::Digest& digest);

}  // namespace octet
