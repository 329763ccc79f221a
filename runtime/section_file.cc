#include "runtime/section_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/sha256.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostSections = 64;
constexpr size_t kNameBytes = 8;

struct SectionRow {
  std::string name;
  uint64_t size = 0;
  Sha256::Digest sha256 = {};
};

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string Padded(absl::string_view name) {
  std::string padded(name);
  padded.resize(kNameBytes);
  return padded;
}

// Rows of the sections, whose digests have not been compared yet.
absl::StatusOr<std::vector<SectionRow>> ReadHeader(const FileForm& form,
                                                   std::span<const std::byte> bytes,
                                                   BinaryReader& reader) {
  const auto magic = reader.Raw(form.magic.size());
  if (!reader.ok() ||
      !std::equal(magic.begin(), magic.end(), std::as_bytes(std::span(form.magic)).begin())) {
    return absl::InvalidArgumentError(absl::StrCat("not a ", form.suffix, " file"));
  }
  uint32_t version = 0, count = 0;
  reader(version, count);
  if (reader.ok() && version != form.version) {
    return absl::FailedPreconditionError(
        absl::StrCat("form ", version, " of ", form.suffix, ", expected ", form.version));
  }
  if (!reader.ok() || count > kMostSections) return Damaged("the header");
  std::vector<SectionRow> rows(count);
  for (SectionRow& row : rows) {
    const auto name = reader.Raw(kNameBytes);
    reader(row.size);
    const auto digest = reader.Raw(row.sha256.size());
    if (!reader.ok()) return Damaged("the table of sections");
    row.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    row.name.resize(std::min(row.name.size(), row.name.find('\0')));
    std::copy(digest.begin(), digest.end(), row.sha256.begin());
  }
  const size_t header = bytes.size() - reader.remaining();
  const Sha256::Digest expected = Sha256Of(bytes.first(header));
  const auto found = reader.Raw(expected.size());
  if (!reader.ok() || !std::equal(found.begin(), found.end(), expected.begin())) {
    return Damaged("the table of sections");
  }
  return rows;
}

}  // namespace

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged: ", what));
}

std::string EncodeSections(const FileForm& form,
                           const std::vector<std::pair<absl::string_view, std::string>>& sections) {
  BinaryWriter header;
  header.Raw(std::as_bytes(std::span(form.magic)));
  header(form.version, static_cast<uint32_t>(sections.size()));
  for (const auto& [name, bytes] : sections) {
    header.Raw(BytesOf(Padded(name)));
    header(uint64_t{bytes.size()});
    header.Raw(Sha256Of(BytesOf(bytes)));
  }
  header.Raw(Sha256Of(BytesOf(header.bytes())));
  std::string file = header.Take();
  for (const auto& [name, bytes] : sections) file += bytes;
  return file;
}

absl::StatusOr<std::vector<SectionView>> DecodeSections(const FileForm& form,
                                                        std::span<const std::byte> bytes) {
  BinaryReader reader(bytes);
  OCTET_ASSIGN_OR_RETURN(const std::vector<SectionRow> rows, ReadHeader(form, bytes, reader));
  std::vector<SectionView> sections;
  for (const SectionRow& row : rows) {
    if (row.size > reader.remaining()) return Damaged("it ends too early");
    const auto section = reader.Raw(static_cast<size_t>(row.size));
    if (Sha256Of(section) != row.sha256) return Damaged(absl::StrCat("section ", row.name));
    sections.push_back({row.name, section});
  }
  if (reader.remaining() > 0) return Damaged("bytes after its end");
  return sections;
}

absl::StatusOr<std::string> ReadSectionFile(const std::string& path, const FileForm& form,
                                            uintmax_t most) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::NotFoundError(absl::StrCat(path, ": not there"));
  // A device or a pipe would never end.
  const uintmax_t size = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  if (error || size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a ", form.suffix, " file"));
  }
  if (size > most) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", size, " bytes, expected at most ", most));
  }
  // Read, not mapped: who shortens it meanwhile makes it damaged, and nothing worse.
  std::string content(static_cast<size_t>(size), '\0');
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return content;
}

}  // namespace octet::runtime
