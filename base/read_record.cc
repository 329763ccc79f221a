#include "base/read_record.h"

#include <openssl/evp.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace octet {
namespace {

absl::Status Changed(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(path, ": has changed since it was loaded"));
}

}  // namespace

absl::Status ReadRecord::Add(const std::string& path, std::span<const std::byte> bytes) {
  Part part{.path = path, .size = bytes.size()};
  unsigned int digest_size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(part.sha256.data()),
                 &digest_size, EVP_sha256(), nullptr) != 1 ||
      digest_size != part.sha256.size()) {
    return absl::InternalError(absl::StrCat(path, ": OpenSSL cannot compute its SHA-256"));
  }
  if (!rereading_) {
    parts_.push_back(std::move(part));
    return absl::OkStatus();
  }
  if (next_ >= parts_.size() || parts_[next_] != part) return Changed(path);
  ++next_;
  return absl::OkStatus();
}

absl::Status ReadRecord::Finish() const {
  if (rereading_ && next_ < parts_.size()) return Changed(parts_[next_].path);
  return absl::OkStatus();
}

ReadRecord ReadRecord::Rereading() const {
  ReadRecord copy = *this;
  copy.rereading_ = true;
  copy.next_ = 0;
  return copy;
}

}  // namespace octet
