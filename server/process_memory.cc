#include "server/process_memory.h"

#include <malloc.h>

namespace octet::server {

void KeepFreedMemory() {
  constexpr int kThreshold = 1 << 30;
  constexpr int kOlderLimit = 32 << 20;  // some versions of the C library accept no more
  if (mallopt(M_MMAP_THRESHOLD, kThreshold) == 0) mallopt(M_MMAP_THRESHOLD, kOlderLimit);
  mallopt(M_TRIM_THRESHOLD, kThreshold);
}

}  // namespace octet::server
