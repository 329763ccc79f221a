#include "quant/distribution.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> Normal(size_t size) {
  std::mt19937 random(21);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(Distribution, RefusesToGuess) {
  EXPECT_EQ(Distribution::Of(std::span<const float>()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Distribution::Of(Histogram()).status().code(), absl::StatusCode::kFailedPrecondition);
  Histogram histogram;
  histogram.AddSample(std::vector<float>{std::nanf("")});
  EXPECT_EQ(Distribution::Of(histogram).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Distribution, NamesTheFirstValueThatIsNotFinite) {
  std::vector<float> values = Normal(100);
  values[37] = -std::numeric_limits<float>::infinity();
  const absl::Status status = Distribution::Of(values).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("-inf at index 37"));
}

TEST(Distribution, OfAHistogramHasItsZeroesBetweenItsBins) {
  Histogram histogram;
  histogram.AddSample(std::vector<float>{-1, 0, 0, 0, 1, 1});
  const Distribution data = *Distribution::Of(histogram);
  EXPECT_THAT(data.weights(), ElementsAre(1, 3, 2));
  EXPECT_EQ(data.points()[1], 0);
  EXPECT_TRUE(std::is_sorted(data.points().begin(), data.points().end()));
  EXPECT_EQ(data.count(), 6u);
}

TEST(Distribution, KeepsItsPointsWhenMoved) {
  Histogram histogram;
  histogram.AddSample(Normal(100));
  Distribution first = *Distribution::Of(histogram);
  const std::vector<float> points(first.points().begin(), first.points().end());
  const Distribution second = std::move(first);
  EXPECT_TRUE(std::ranges::equal(second.points(), points));
}

TEST(Distribution, SummarizesManyValuesWithoutChangingTheirError) {
  const std::vector<float> values = Normal(Distribution::kMostExactValues + 1);
  const Distribution data = *Distribution::Of(values);
  EXPECT_LE(data.points().size(), size_t{Distribution::kFineBins});
  for (const float limit : {2.0f, 4.0f, 6.0f}) {
    const Range range = {-limit, limit};
    const Affine affine = AffineFor(range, kSymmetricInt8);
    double error = 0;
    for (const float value : values) {
      const double code =
          std::clamp(std::nearbyint(value / static_cast<double>(affine.scale)), -127.0, 127.0);
      error += std::pow(value - affine.scale * code, 2);
    }
    EXPECT_NEAR(data.SquaredError(range, kSymmetricInt8) / error, 1, 2e-3);
  }
}

TEST(Distribution, QuantilesOfValuesAndHistogramAgree) {
  const std::vector<float> values = Normal(50'000);
  Histogram histogram;
  histogram.AddSample(values);
  const Distribution exact = *Distribution::Of(values);
  const Distribution observed = *Distribution::Of(histogram);
  for (const double share : {0.0, 0.001, 0.25, 0.5, 0.9, 0.999, 1.0}) {
    EXPECT_NEAR(observed.Quantile(share), exact.Quantile(share), 0.01) << share;
    EXPECT_NEAR(observed.MagnitudeQuantile(share), exact.MagnitudeQuantile(share), 0.01) << share;
  }
  EXPECT_EQ(exact.Quantile(1), exact.max());
  EXPECT_EQ(exact.Quantile(0), exact.min());
}

TEST(Distribution, CountsMagnitudesWithoutZeroes) {
  const std::vector<float> values = {-4, -1.5f, 0, 0.5f, 3.9f};
  EXPECT_THAT(Distribution::Of(values)->MagnitudeCounts(4), ElementsAre(1, 1, 0, 2));
}

}  // namespace
}  // namespace octet::quant
