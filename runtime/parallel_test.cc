#include "runtime/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace octet::runtime {
namespace {

TEST(ParallelFor, EveryIndexRunsOnce) {
  for (const int threads : {0, 1, 3, 50}) {
    std::vector<int> calls(20, 0);
    ASSERT_TRUE(ParallelFor(threads, calls.size(), [&](size_t i) {
                  ++calls[i];
                  return absl::OkStatus();
                }).ok());
    EXPECT_EQ(calls, std::vector<int>(20, 1)) << threads;
  }
  EXPECT_TRUE(ParallelFor(4, 0, [](size_t) { return absl::InternalError(""); }).ok());
}

// Two pieces that wait for each other end only if they run at the same time.
TEST(ParallelFor, PiecesRunAtTheSameTime) {
  std::atomic<int> begun = 0;
  ASSERT_TRUE(ParallelFor(2, 2, [&](size_t) {
                ++begun;
                while (begun < 2) std::this_thread::yield();
                return absl::OkStatus();
              }).ok());
}

TEST(ParallelFor, TheFirstErrorIsReturnedAndEndsTheWork) {
  for (const int threads : {1, 4}) {
    std::atomic<int> calls = 0;
    const absl::Status status = ParallelFor(threads, 10'000, [&](size_t i) {
      ++calls;
      if (i >= 7) return absl::InternalError(std::to_string(i));
      return absl::OkStatus();
    });
    EXPECT_EQ(status.message(), "7");
    EXPECT_LT(calls, 10'000);
  }
}

TEST(ParallelFor, TellsTheCallersThread) {
  const auto caller = std::this_thread::get_id();
  size_t last = 0;
  ASSERT_TRUE(ParallelFor(
                  2, 100, [](size_t) { return absl::OkStatus(); },
                  [&](size_t done) {
                    EXPECT_EQ(std::this_thread::get_id(), caller);
                    EXPECT_GT(done, last);
                    last = done;
                  })
                  .ok());
  EXPECT_LE(last, 100u);
}

}  // namespace
}  // namespace octet::runtime
