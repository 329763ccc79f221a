// SHA-256, to tell by content whether something has changed.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "base/file.h"

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
  // The whole file, a piece in memory at a time.
  void Add(const MappedFile& file);
  // Where one part ends and the next begins counts: {"ab", "c"} is not {"a", "bc"}.
  void AddPart(std::span<const std::byte> bytes);
  void AddPart(absl::string_view text);
  void AddPart(const MappedFile& file);

  // Called once, last. All zero if OpenSSL cannot compute it.
  Digest Finish();

 private:
  void AddSize(uint64_t size);

  struct Context;
  std::unique_ptr<Context> context_;
};

Sha256::Digest Sha256Of(std::span<const std::byte> bytes);

std::string Hex(const Sha256::Digest& digest);

}  // namespace octet
