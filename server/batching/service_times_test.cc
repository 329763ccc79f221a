#include "server/batching/service_times.h"

#include "gtest/gtest.h"

namespace octet::server {
namespace {

const std::vector<int64_t> kSizes = {1, 2, 4, 8};

TEST(ServiceTimesTest, KnowsNothingAtFirst) {
  const ServiceTimes times(kSizes);
  EXPECT_EQ(times.At(3), absl::ZeroDuration());
  EXPECT_EQ(times.BestPerRow(), absl::ZeroDuration());
  EXPECT_EQ(times.Knee(), 8);
}

TEST(ServiceTimesTest, LeavesOutTheRunThatMayHaveCompiled) {
  ServiceTimes times(kSizes);
  times.Record(3, absl::Seconds(5));
  EXPECT_EQ(times.At(3), absl::ZeroDuration());
  times.Record(3, absl::Milliseconds(4));
  EXPECT_EQ(times.At(3), absl::Milliseconds(4)) << "3 rows run at compiled size 4";
  EXPECT_EQ(times.At(4), absl::Milliseconds(4));
}

TEST(ServiceTimesTest, FallsFastAndRisesSlowly) {
  ServiceTimes times(kSizes);
  times.Seed(1, absl::Milliseconds(10));
  times.Record(1, absl::Milliseconds(20));
  EXPECT_EQ(times.At(1), absl::Milliseconds(11));
  times.Record(1, absl::Milliseconds(1));
  EXPECT_EQ(times.At(1), absl::Milliseconds(6));
}

TEST(ServiceTimesTest, KneeIsWhereThroughputStopsGrowing) {
  ServiceTimes times(kSizes);
  times.Seed(1, absl::Milliseconds(10));  // 10 ms a row
  times.Seed(2, absl::Milliseconds(12));  // 6
  times.Seed(4, absl::Milliseconds(20));  // 5
  times.Seed(8, absl::Milliseconds(39));  // 4.9: within 5 % of size 4
  EXPECT_EQ(times.Knee(), 4);
  EXPECT_EQ(times.BestPerRow(), absl::Milliseconds(39) / 8);
}

TEST(ServiceTimesTest, KneeIsOneWhenBatchingGainsNothing) {
  ServiceTimes times(kSizes);
  for (const int64_t size : kSizes) times.Seed(size, absl::Milliseconds(5) * size);
  EXPECT_EQ(times.Knee(), 1);
}

TEST(ServiceTimesTest, DoubtedEstimatesVanishInTheEnd) {
  ServiceTimes times(kSizes);
  times.Seed(1, absl::Seconds(2));
  int refusals = 0;
  while (times.At(1) > absl::Milliseconds(100)) {
    times.Doubt(1);
    ++refusals;
  }
  EXPECT_LT(refusals, 40);
}

}  // namespace
}  // namespace octet::server
