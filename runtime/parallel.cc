#include "runtime/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "kernels/cpu.h"

namespace octet::runtime {

absl::Status ParallelFor(int threads, size_t count, const std::function<absl::Status(size_t)>& run,
                         const std::function<void(size_t)>& finished) {
  std::vector<absl::Status> results(count);
  std::atomic<size_t> next = 0, done = 0;
  std::atomic<bool> failed = false;
  // Indices are handed out in order, so that all below one that failed have begun and will end.
  const auto work = [&](bool tells) {
    for (size_t i = next++; i < count && !failed; i = next++) {
      results[i] = run(i);
      if (!results[i].ok()) failed = true;
      const size_t so_far = ++done;
      if (tells && finished) finished(so_far);
    }
  };
  std::vector<std::thread> others;
  const size_t wanted = std::min(static_cast<size_t>(std::max(threads, 1)), count);
  for (size_t i = 1; i < wanted; ++i) {
    others.emplace_back([&work] {
      kernels::PrepareThread(1);  // what runs beside others has no team of its own
      work(false);
    });
  }
  work(true);
  for (std::thread& other : others) other.join();
  for (absl::Status& result : results) {
    if (!result.ok()) return std::move(result);
  }
  return absl::OkStatus();
}

}  // namespace octet::runtime
