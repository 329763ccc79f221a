#include "base/build_id.h"

#include <link.h>

#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace octet {
namespace {

constexpr char kOwner[] = "GNU";

size_t Aligned(size_t size) { return (size + 3) & ~size_t{3}; }

// The description of the note NT_GNU_BUILD_ID among the notes at `bytes`.
absl::string_view FindBuildId(const char* bytes, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, bytes, sizeof(header));
    const size_t name = Aligned(header.n_namesz), content = Aligned(header.n_descsz);
    if (sizeof(header) + name + content > size) break;
    const char* const owner = bytes + sizeof(header);
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == sizeof(kOwner) &&
        std::memcmp(owner, kOwner, sizeof(kOwner)) == 0) {
      return {owner + name, header.n_descsz};
    }
    bytes += sizeof(header) + name + content;
    size -= sizeof(header) + name + content;
  }
  return {};
}

// The program itself comes first.
int VisitProgram(dl_phdr_info* info, size_t, void* result) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    // The C library gives the address as a number.
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    const auto* const notes = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    const absl::string_view id = FindBuildId(notes, segment.p_memsz);
    if (!id.empty()) *static_cast<std::string*>(result) = absl::BytesToHexString(id);
  }
  return 1;  // no other
}

}  // namespace

std::string BuildId() {
  std::string id;
  dl_iterate_phdr(VisitProgram, &id);
  return id;
}

}  // namespace octet
