#include "base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/escaping.h"

namespace octet {
namespace {

std::span<const std::byte> BytesOf(absl::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  bool ok = evp != nullptr && EVP_DigestInit_ex(evp, EVP_sha256(), nullptr) == 1;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}

Sha256::~Sha256() { EVP_MD_CTX_free(context_->evp); }

void Sha256::Add(std::span<const std::byte> bytes) {
  if (!context_->ok) return;
  context_->ok = EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1;
}

void Sha256::Add(absl::string_view text) { Add(BytesOf(text)); }

void Sha256::Add(const MappedFile& file) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  const std::span<const std::byte> bytes = file.bytes();
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    Add(bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at)));
    file.DropPages();
  }
}

void Sha256::AddSize(uint64_t size) { Add(std::as_bytes(std::span(&size, 1))); }

void Sha256::AddPart(std::span<const std::byte> bytes) {
  AddSize(bytes.size());
  Add(bytes);
}

void Sha256::AddPart(const MappedFile& file) {
  AddSize(file.bytes().size());
  Add(file);
}

void Sha256::AddPart(absl::string_view text) { AddPart(BytesOf(text)); }

Sha256::Digest Sha256::Finish() {
  Digest digest = {};
  unsigned int size = 0;
  auto* const bytes = reinterpret_cast<unsigned char*>(digest.data());
  if (!context_->ok || EVP_DigestFinal_ex(context_->evp, bytes, &size) != 1) return {};
  return digest;
}

Sha256::Digest Sha256Of(std::span<const std::byte> bytes) {
  Sha256 sha256;
  sha256.Add(bytes);
  return sha256.Finish();
}

std::string Hex(const Sha256::Digest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace octet
