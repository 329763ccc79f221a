// Files of named sections, none of which is believed before its SHA-256 has been checked.
//
//   bytes            meaning
//   0..7             magic: what the file is
//   8..11            version of the form, 12..15 number of sections
//   from 16          for each section: 8 bytes of name, 8 of size, 32 of SHA-256
//   after these      SHA-256 of all before it
//   then             the sections' bytes, in the same order
//
// A later version may add sections, which readers pass over. The digests tell damage, not forgery.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/binary_form.h"

namespace octet::runtime {

struct FileForm {
  absl::string_view magic;   // 8 bytes
  absl::string_view suffix;  // ".qpack": for messages
  uint32_t version = 1;
};

// Names of at most 8 bytes, at most 64 of them.
std::string EncodeSections(const FileForm& form,
                           const std::vector<std::pair<absl::string_view, std::string>>& sections);

struct SectionView {
  std::string name;
  std::span<const std::byte> bytes;  // of what was decoded
};

// All sections, unharmed. InvalidArgument says what is damaged; FailedPrecondition: the form is of
// another version. Any bytes may be given.
absl::StatusOr<std::vector<SectionView>> DecodeSections(const FileForm& form,
                                                        std::span<const std::byte> bytes);

// "damaged: WHAT".
absl::Status Damaged(absl::string_view what);

template <typename... Values>
std::string ToSection(const Values&... values) {
  BinaryWriter writer;
  writer(values...);
  return writer.Take();
}

template <typename... Values>
absl::Status FromSection(const SectionView& section, Values&... values) {
  BinaryReader reader(section.bytes);
  reader(values...);
  return reader.Finish() ? absl::OkStatus() : Damaged("section " + section.name);
}

// What is in the file at `path`, of at most `most` bytes. NotFound, PermissionDenied, or
// InvalidArgument if it is no file or a larger one; messages name the path.
absl::StatusOr<std::string> ReadSectionFile(const std::string& path, const FileForm& form,
                                            uintmax_t most);

}  // namespace octet::runtime
