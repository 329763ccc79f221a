// What was read from files, so that reading them again can be proven to give the same.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/sha256.h"

namespace octet {

// Notes parts of files in the order they are read in, as SHA-256. A copy made by Rereading() notes
// nothing but checks that the same is read in the same order. Not thread-safe.
class ReadRecord {
 public:
  // `bytes` is a part of the file at `path`, or of what a folder holds. FailedPrecondition if this
  // is a copy for rereading and the part is another, naming the path.
  absl::Status Add(const std::string& path, std::span<const std::byte> bytes);
  // The whole file at `path`, a piece in memory at a time.
  absl::Status Add(const std::string& path, const MappedFile& file);

  // At the end of reading again: FailedPrecondition if something was not read.
  absl::Status Finish() const;

  ReadRecord Rereading() const;

 private:
  struct Part {
    std::string path;
    size_t size = 0;
    Sha256::Digest sha256 = {};

    bool operator==(const Part&) const = default;
  };

  absl::Status Add(Part part);

  std::vector<Part> parts_;
  bool rereading_ = false;
  size_t next_ = 0;  // part to read again
};

}  // namespace octet
