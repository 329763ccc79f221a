// Independent pieces of work on a few threads that live as long as the work.

#pragma once

#include <cstddef>
#include <functional>

#include "absl/status/status.h"

namespace octet::runtime {

// Calls run(0) ... run(count - 1), each once, on up to `threads` threads, this one among them; in
// order if that is one. `finished`, if given, is called from this thread now and then, with how
// many are done. The error is that of the lowest index that failed; after an error no more begin.
absl::Status ParallelFor(int threads, size_t count, const std::function<absl::Status(size_t)>& run,
                         const std::function<void(size_t)>& finished = nullptr);

}  // namespace octet::runtime
