// Files as bytes.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet {

// A file's bytes, mapped read-only for as long as a copy of this lives. The file must not shrink
// meanwhile.
class MappedFile {
 public:
  // NotFound, PermissionDenied or InvalidArgument (not a regular file), naming the path.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  std::span<const std::byte> bytes() const { return bytes_; }
  // Lets go of the memory that bytes were read into; they stay readable.
  void DropPages() const;

 private:
  std::shared_ptr<const void> mapping_;
  std::span<const std::byte> bytes_;
};

// Writes a temporary file beside `path` and renames it, so that readers see all or nothing.
absl::Status WriteFile(const std::string& path, absl::string_view content);

}  // namespace octet
