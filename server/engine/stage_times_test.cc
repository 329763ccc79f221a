#include "server/engine/stage_times.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(StageTimes, AStageLastsUntilTheNext) {
  StageTimes times;
  EXPECT_THAT(times.Seconds(At(0)), IsEmpty());
  times.Tell("import", At(1));
  times.Tell("calibrate", At(3));
  times.Tell("import", At(4));
  times.Tell("import", At(5));
  EXPECT_THAT(times.Seconds(At(8)), ElementsAre(Pair("import", 6), Pair("calibrate", 1)));
}

}  // namespace
}  // namespace octet::server
