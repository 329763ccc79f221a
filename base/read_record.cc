#include "base/read_record.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace octet {
namespace {

absl::Status Changed(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(path, ": has changed since it was loaded"));
}

}  // namespace

absl::Status ReadRecord::Add(const std::string& path, std::span<const std::byte> bytes) {
  return Add({.path = path, .size = bytes.size(), .sha256 = Sha256Of(bytes)});
}

absl::Status ReadRecord::Add(const std::string& path, const MappedFile& file) {
  Sha256 sha256;
  sha256.Add(file);
  return Add({.path = path, .size = file.bytes().size(), .sha256 = sha256.Finish()});
}

absl::Status ReadRecord::Add(Part part) {
  if (part.sha256 == Sha256::Digest{}) {
    return absl::InternalError(absl::StrCat(part.path, ": OpenSSL cannot compute its SHA-256"));
  }
  if (!rereading_) {
    parts_.push_back(std::move(part));
    return absl::OkStatus();
  }
  if (next_ >= parts_.size() || parts_[next_] != part) return Changed(part.path);
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
