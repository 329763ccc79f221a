// Memory for tensors and arenas.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

namespace octet {

struct FreeBytes {
  size_t mapped_bytes = 0;  // 0: from the heap

  void operator()(std::byte* bytes) const;
};

using Bytes = std::unique_ptr<std::byte[], FreeBytes>;

// At least `size` zeroed bytes, aligned for a cache line and an AVX-512 register; null if there is
// no memory. Large pieces are mapped, each for itself, and go back to the system as soon as they
// are freed: heaps keep what lies between pieces that live on, and what other threads freed.
Bytes AllocateZeroed(size_t size);

constexpr size_t RoundedUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// Frees a part of a file that is mapped.
struct UnmapFile {
  size_t size = 0;
  std::function<void()> afterwards;

  void operator()(std::byte* bytes) const;
};

// Lets go of the pages of a mapped file, which are read again from it when they are touched. Never
// for other memory: that would become zero.
void DropFilePages(std::span<const std::byte> mapped);

}  // namespace octet
