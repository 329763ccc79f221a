#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace octet {
namespace {

constexpr size_t kAlignment = 64;

// AddressSanitizer guards the heap's pieces, not those that are mapped.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kMapped = SIZE_MAX;
#else
constexpr size_t kMapped = size_t{256} << 10;
#endif
// From here on pages of 2 MiB save most of the time that the system takes to map memory.
constexpr size_t kHuge = size_t{2} << 20;

}  // namespace

void FreeBytes::operator()(std::byte* bytes) const {
  if (mapped_bytes == 0) {
    std::free(bytes);
  } else {
    munmap(bytes, mapped_bytes);
  }
}

void UnmapFile::operator()(std::byte* bytes) const {
  munmap(bytes, size);
  if (afterwards) afterwards();
}

void DropFilePages(std::span<const std::byte> mapped) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const size_t into_page = reinterpret_cast<uintptr_t>(mapped.data()) % page;
  madvise(const_cast<std::byte*>(mapped.data()) - into_page, mapped.size() + into_page,
          MADV_DONTNEED);
}

Bytes AllocateZeroed(size_t size) {
  if (size > SIZE_MAX / 2) return nullptr;
  if (size >= kMapped) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    if (size >= kHuge) madvise(memory, size, MADV_HUGEPAGE);
    return {static_cast<std::byte*>(memory), FreeBytes{size}};
  }
  const size_t rounded = std::max(RoundedUp(size, kAlignment), kAlignment);
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, rounded);
  return {static_cast<std::byte*>(memory), FreeBytes{}};
}

}  // namespace octet
