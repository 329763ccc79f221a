#include "server/engine/tuning.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/quantization_yaml.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TuningMeasurement Measured(double sqnr_db, size_t bytes, double milliseconds) {
  return {{.samples = 8, .sqnr_db = sqnr_db}, bytes, milliseconds};
}

TuningPoint Point(double sqnr_db, size_t bytes, double milliseconds) {
  return {.measured = Measured(sqnr_db, bytes, milliseconds)};
}

constexpr runtime::AccuracyTarget kTarget = {runtime::AccuracyMetric::kSqnr, 20};

TEST(ParetoFront, IsWhatNothingBeats) {
  const std::vector<TuningPoint> points = {
      Point(99, 400, 4),  // float32
      Point(30, 100, 2),  //
      Point(25, 100, 2),  // beaten by the one before
      Point(22, 50, 3),   // fewest bytes
      Point(30, 100, 2),  // as good as an earlier one
      Point(24, 120, 1),  // fastest
  };
  EXPECT_THAT(ParetoFront(points, kTarget), ElementsAre(5, 1, 3, 0));
}

TEST(Choose, ByTheObjectiveAmongThoseThatHoldTheTarget) {
  const std::vector<TuningPoint> points = {Point(99, 400, 4), Point(30, 100, 2), Point(22, 50, 3),
                                           Point(19, 20, 1)};
  EXPECT_EQ(Choose(points, kTarget, TuneObjective::kLatency), 1u);
  EXPECT_EQ(Choose(points, kTarget, TuneObjective::kBytes), 2u);
  EXPECT_EQ(Choose(points, kTarget, TuneObjective::kAccuracy), 0u);
}

TEST(Choose, TheMostAccurateWhereNoneHolds) {
  EXPECT_EQ(
      Choose({Point(3, 1, 1), Point(9, 9, 9), Point(5, 1, 1)}, kTarget, TuneObjective::kLatency),
      1u);
}

TEST(Choose, NoiseOfTheClockDoesNotDecide) {
  EXPECT_EQ(Choose({Point(25, 1, 1.00), Point(40, 1, 1.02), Point(50, 1, 1.2)}, kTarget,
                   TuneObjective::kLatency),
            1u);
}

TEST(TuningAxes, BeginWithTheModeAndHaveAValueEach) {
  QuantizationConfig start;
  start.mode = QuantizationMode::kInt8;
  EXPECT_EQ(TuningAxes().front().path, "quantization.mode");
  int known = 0;
  for (const TuningAxis& axis : TuningAxes()) {
    for (const std::string& value : axis.values) known += WithSetting(start, axis.path, value).ok();
  }
  EXPECT_GE(known, 20);
}

TEST(WithSetting, LeavesTheRest) {
  QuantizationConfig start;
  start.mode = QuantizationMode::kInt8;
  start.calibration.path = "/data";
  start.layers = {{"a*", QuantizationMode::kInt8}};
  const auto changed = WithSetting(start, "quantization.weights.algorithm", "entropy");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->weights.algorithm, "entropy");
  EXPECT_EQ(changed->calibration.path, "/data");
  ASSERT_THAT(changed->layers, SizeIs(1));
  EXPECT_FALSE(WithSetting(start, "quantization.weights.algorithm", "magic").ok());
  EXPECT_FALSE(WithSetting(start, "quantization.no_such", "1").ok());
}

// A made-up model in which the best lies two changes away from the start.
class Explored : public testing::Test {
 protected:
  absl::StatusOr<std::vector<TuningPoint>> Run(int most) {
    TuningTask task{.target = kTarget, .objective = TuneObjective::kAccuracy};
    task.start.mode = QuantizationMode::kInt8;
    task.measure = [this](const QuantizationConfig& config,
                          const std::string&) -> absl::StatusOr<TuningMeasurement> {
      ++measured_[QuantizationYaml(config)];
      if (config.mode == QuantizationMode::kFloat32) return Measured(99, 400, 4);
      if (config.weights.algorithm == "entropy") return absl::InternalError("cannot");
      double sqnr_db = 20;
      if (config.weights.algorithm == "decision_tree") sqnr_db += 5;
      if (config.activations.timing == ActivationTiming::kDynamic) sqnr_db += 3;
      return Measured(sqnr_db, 100, 2);
    };
    task.out_of_time = [this, most] { return static_cast<int>(measured_.size()) >= most; };
    return Explore(task);
  }

  std::map<std::string, int> measured_;
};

TEST_F(Explored, FindsWhatIsSeveralChangesAway) {
  const auto points = Run(1000);
  ASSERT_TRUE(points.ok()) << points.status();
  double best = 0;
  bool float32 = false;
  for (const TuningPoint& point : *points) {
    if (point.config.mode == QuantizationMode::kFloat32) {
      float32 = true;
      continue;
    }
    best = std::max(best, point.measured.accuracy.sqnr_db);
  }
  EXPECT_EQ(best, 28);
  EXPECT_TRUE(float32);
  EXPECT_GT(points->size(), 12u);
  for (const auto& [config, times] : measured_) EXPECT_EQ(times, 1) << config;
}

TEST_F(Explored, EndsWithTheTime) {
  const auto points = Run(3);
  ASSERT_TRUE(points.ok()) << points.status();
  EXPECT_THAT(*points, SizeIs(3));
}

}  // namespace
}  // namespace octet::server
