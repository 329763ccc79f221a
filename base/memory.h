// Memory for tensors and arenas.

#pragma once

#include <cstddef>
#include <memory>

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

}  // namespace octet
