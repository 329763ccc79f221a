// What every range estimator promises, and what the literature and an independent implementation
// say of the ones there are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/range_estimator.h"

namespace octet::quant {
namespace {

using ::testing::HasSubstr;

constexpr Grid kGrids[] = {kSymmetricInt8, kSymmetricInt7, kAsymmetricUint8};

enum class Curve { kGaussian, kLaplace, kRectified, kHeavyTailed };

std::vector<float> Draw(Curve shape, size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::exponential_distribution<float> exponential;
  std::student_t_distribution<float> student(3);
  std::vector<float> values(size);
  for (float& value : values) {
    switch (shape) {
      case Curve::kGaussian:
        value = normal(random);
        break;
      case Curve::kLaplace:
        value = exponential(random) * (random() % 2 == 0 ? 1.0f : -1.0f);
        break;
      case Curve::kRectified:
        value = std::max(0.0f, normal(random));
        break;
      case Curve::kHeavyTailed:
        value = student(random);
        break;
    }
  }
  return values;
}

// The value below which a normally distributed number lies with probability `share`.
float NormalQuantile(double share) {
  double low = -10;
  double high = 10;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < share ? low : high) = middle;
  }
  return static_cast<float>(low);
}

// The evenly spaced quantiles of a distribution, in a random order: a sample without the luck of
// the draw, which moves the SQNR of 131,072 random numbers by half a dB either way.
std::vector<float> EvenDraw(Curve curve, size_t size) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) {
    const double share = (static_cast<double>(i) + 0.5) / static_cast<double>(size);
    if (curve == Curve::kLaplace) {
      const double tail = std::log(2 * std::min(share, 1 - share));
      values[i] = static_cast<float>(share < 0.5 ? tail : -tail);
    } else {
      values[i] = NormalQuantile(share);
      if (curve == Curve::kRectified) values[i] = std::max(values[i], 0.0f);
    }
  }
  std::shuffle(values.begin(), values.end(), std::mt19937(17));
  return values;
}

Histogram HistogramOf(const std::vector<float>& values) {
  Histogram histogram;
  const size_t samples = std::min<size_t>(values.size(), 4);
  for (size_t i = 0; i < samples; ++i) {
    const size_t begin = i * values.size() / samples;
    const size_t end = (i + 1) * values.size() / samples;
    histogram.AddSample(std::span(values).subspan(begin, end - begin));
  }
  return histogram;
}

// The definition, in double and value by value.
double SquaredError(std::span<const float> points, std::span<const float> weights, Range range,
                    const Grid& grid) {
  const Affine affine = AffineFor(range, grid);
  const double scale = affine.scale;
  double sum = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const double code = std::clamp<double>(std::nearbyint(points[i] / scale) + affine.zero_point,
                                           grid.first, grid.last);
    const double error = points[i] - scale * (code - affine.zero_point);
    sum += error * error * (weights.empty() ? 1 : weights[i]);
  }
  return sum;
}

double SqnrOf(const std::vector<float>& values, Range range, const Grid& grid) {
  double signal = 0;
  for (const float value : values) signal += static_cast<double>(value) * value;
  return 10 * std::log10(signal / SquaredError(values, {}, range, grid));
}

class EveryEstimator : public ::testing::TestWithParam<RangeEstimator> {
 protected:
  static RangeEstimate Estimate(const Distribution& values, const Grid& grid) {
    return GetParam().estimate(values, grid, {}).value();
  }
  static RangeEstimate OfValues(const std::vector<float>& values, const Grid& grid) {
    return Estimate(*Distribution::Of(values), grid);
  }
  static RangeEstimate OfHistogram(const std::vector<float>& values, const Grid& grid) {
    return Estimate(*Distribution::Of(HistogramOf(values)), grid);
  }
};

TEST_P(EveryEstimator, IsFoundByItsNameAndSaysWhatItDoes) {
  EXPECT_EQ(FindRangeEstimator(GetParam().name)->estimate, GetParam().estimate);
  EXPECT_FALSE(GetParam().summary.empty());
}

TEST_P(EveryEstimator, StaysCloseToWhatItSawAndContainsZero) {
  for (const Curve shape : {Curve::kGaussian, Curve::kRectified, Curve::kHeavyTailed}) {
    const std::vector<float> values = Draw(shape, 10'000, 7);
    const auto [min, max] = std::minmax_element(values.begin(), values.end());
    const float largest = std::max(-*min, *max);
    for (const Grid& grid : kGrids) {
      for (const RangeEstimate& estimate : {OfValues(values, grid), OfHistogram(values, grid)}) {
        EXPECT_LE(estimate.range.low, 0);
        EXPECT_GE(estimate.range.high, 0);
        EXPECT_LT(estimate.range.low, estimate.range.high);
        EXPECT_GE(estimate.range.low, -1.1f * largest);
        EXPECT_LE(estimate.range.high, 1.1f * largest);
        // Whatever is clipped, most of the signal must survive.
        EXPECT_GT(SqnrOf(values, estimate.range, grid), 8);
      }
    }
  }
}

TEST_P(EveryEstimator, LeavesNonNegativeValuesTheWholeGrid) {
  const std::vector<float> values = Draw(Curve::kRectified, 10'000, 8);
  const RangeEstimate estimate = OfHistogram(values, kAsymmetricUint8);
  EXPECT_EQ(AffineFor(estimate.range, kAsymmetricUint8).zero_point, 0);
}

TEST_P(EveryEstimator, IgnoresInfinityAndNan) {
  const std::vector<float> good = Draw(Curve::kGaussian, 3000, 9);
  std::vector<float> bad = good;
  bad.insert(bad.begin() + 50, {std::numeric_limits<float>::infinity(), std::nanf(""),
                                -std::numeric_limits<float>::infinity()});
  Histogram good_histogram;
  good_histogram.AddSample(good);
  Histogram bad_histogram;
  bad_histogram.AddSample(bad);
  EXPECT_EQ(Estimate(*Distribution::Of(bad_histogram), kAsymmetricUint8).range,
            Estimate(*Distribution::Of(good_histogram), kAsymmetricUint8).range);
}

TEST_P(EveryEstimator, RepresentsConstantsExactly) {
  for (const float constant : {3.7f, -0.011f, 1e-20f, 1e20f}) {
    for (const size_t size : {size_t{1}, size_t{20}, size_t{5000}}) {
      const std::vector<float> values(size, constant);
      for (const Grid& grid : kGrids) {
        EXPECT_GT(SqnrOf(values, OfValues(values, grid).range, grid), 99) << constant;
        EXPECT_GT(SqnrOf(values, OfHistogram(values, grid).range, grid), 99) << constant;
      }
    }
  }
}

TEST_P(EveryEstimator, GivesZeroesAnEmptyRange) {
  for (const size_t size : {size_t{1}, size_t{5000}}) {
    const std::vector<float> zeros(size);
    for (const Grid& grid : kGrids) {
      EXPECT_EQ(OfValues(zeros, grid).range, Range());
      EXPECT_EQ(OfHistogram(zeros, grid).range, Range());
    }
  }
}

TEST_P(EveryEstimator, FallsBackToTheWholeRangeOrWorksForAnyNumberOfValues) {
  for (const size_t size : {1, 2, 3, 10, 100, 999, 1000}) {
    const std::vector<float> values = Draw(Curve::kHeavyTailed, size, 10);
    const Distribution distribution = *Distribution::Of(values);
    for (const Grid& grid : kGrids) {
      const RangeEstimate estimate = Estimate(distribution, grid);
      EXPECT_TRUE(std::isfinite(estimate.range.low) && std::isfinite(estimate.range.high));
      if (estimate.fell_back) {
        EXPECT_EQ(estimate.range, MinMaxRange(distribution));
        EXPECT_LE(size, 1000u);
      }
    }
  }
}

TEST_P(EveryEstimator, DoesNotDependOnTheUnit) {
  const std::vector<float> values = Draw(Curve::kLaplace, 4000, 11);
  for (const Grid& grid : kGrids) {
    const Range range = OfValues(values, grid).range;
    const Range observed = OfHistogram(values, grid).range;
    for (const int exponent : {-60, -1, 3, 60}) {
      std::vector<float> scaled = values;
      for (float& value : scaled) value = std::ldexp(value, exponent);
      const Range expected = {std::ldexp(range.low, exponent), std::ldexp(range.high, exponent)};
      EXPECT_EQ(OfValues(scaled, grid).range, expected);
      const Range expected_observed = {std::ldexp(observed.low, exponent),
                                       std::ldexp(observed.high, exponent)};
      EXPECT_EQ(OfHistogram(scaled, grid).range, expected_observed);
    }
  }
}

// 10,000 values make a histogram whose bins are far finer than the grid.
TEST_P(EveryEstimator, SaysMuchTheSameOfAHistogramAsOfTheValues) {
  const std::vector<float> values = Draw(Curve::kGaussian, 10'000, 12);
  Histogram histogram;
  histogram.AddSample(values);
  for (const Grid& grid : kGrids) {
    const RangeEstimate observed = Estimate(*Distribution::Of(histogram), grid);
    EXPECT_NEAR(SqnrOf(values, observed.range, grid),
                SqnrOf(values, OfValues(values, grid).range, grid), 0.1);
  }
}

TEST_P(EveryEstimator, IsNeverBetterThanLeastSquares) {
  const RangeEstimator least_squares = *FindRangeEstimator("least_squares");
  std::mt19937 random(13);
  for (int i = 0; i < 160; ++i) {
    const auto shape = static_cast<Curve>(i % 4);
    const size_t size = i < 20 ? static_cast<size_t>(i) + 1 : 1 + random() % 5000;
    const std::vector<float> values = Draw(shape, size, static_cast<uint32_t>(i));
    const Histogram histogram = HistogramOf(values);
    for (const bool exact : {true, false}) {
      const Distribution data = exact ? *Distribution::Of(values) : *Distribution::Of(histogram);
      for (const Grid& grid : kGrids) {
        const Range best = least_squares.estimate(data, grid, {})->range;
        const double error = SquaredError(data.points(), data.weights(), best, grid);
        const double other =
            SquaredError(data.points(), data.weights(), Estimate(data, grid).range, grid);
        EXPECT_LE(error, other * (1 + 2e-5) + 1e-12) << "case " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryEstimator, ::testing::ValuesIn(RangeEstimators()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RangeEstimators, AreListedWhenANameIsUnknown) {
  const absl::Status status = FindRangeEstimator("minmax").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'minmax'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("least_squares, mean_min_max, min_max"));
}

TEST(Percentile, RefusesWhatIsNoPercentile) {
  const std::vector<float> values = Draw(Curve::kGaussian, 2000, 1);
  const Distribution data = *Distribution::Of(values);
  const RangeEstimator percentile = *FindRangeEstimator("percentile");
  for (const double bad : {50.0, 100.1, -1.0, std::nan("")}) {
    EXPECT_EQ(percentile.estimate(data, kSymmetricInt8, {.percentile = bad}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(Percentile, InterpolatesBetweenValues) {
  std::vector<float> values;
  for (int i = 0; i <= 1000; ++i) values.push_back(static_cast<float>(i));
  std::shuffle(values.begin(), values.end(), std::mt19937(1));
  const Distribution data = *Distribution::Of(values);
  EXPECT_FLOAT_EQ(data.Quantile(0.25), 250);
  EXPECT_FLOAT_EQ(data.Quantile(0.99995), 999.95f);
  const RangeEstimator percentile = *FindRangeEstimator("percentile");
  EXPECT_FLOAT_EQ(percentile.estimate(data, kSymmetricInt8, {.percentile = 99})->range.high, 990);
}

TEST(MeanMinMax, AveragesOverSamples) {
  Histogram histogram;
  histogram.AddSample(std::vector<float>{-1, 0, 10});
  histogram.AddSample(std::vector<float>{-3, 0, 2});
  const RangeEstimator mean_min_max = *FindRangeEstimator("mean_min_max");
  EXPECT_EQ(mean_min_max.estimate(*Distribution::Of(histogram), kAsymmetricUint8, {})->range,
            (Range{-2, 6}));
}

TEST(LeastSquares, IsNoWorseThanTheInheritedRange) {
  const RangeEstimator least_squares = *FindRangeEstimator("least_squares");
  std::mt19937 random(14);
  std::uniform_real_distribution<float> uniform(0.1f, 4);
  for (uint32_t i = 0; i < 100; ++i) {
    const std::vector<float> values = Draw(Curve::kGaussian, 1 + random() % 60, i);
    const Distribution data = *Distribution::Of(values);
    const Range inherited = {-uniform(random), uniform(random)};
    for (const Grid& grid : kGrids) {
      const Range range = least_squares.estimate(data, grid, {.inherited = inherited})->range;
      EXPECT_LE(SquaredError(values, {}, range, grid),
                SquaredError(values, {}, inherited, grid) * (1 + 2e-5) + 1e-12);
    }
  }
}

// An exhaustive search over the scale: there is no better symmetric quantizer to be found.
TEST(LeastSquares, FindsTheOptimumOfAFineSweep) {
  const RangeEstimator least_squares = *FindRangeEstimator("least_squares");
  for (const Curve shape : {Curve::kGaussian, Curve::kLaplace, Curve::kHeavyTailed}) {
    const std::vector<float> values = Draw(shape, 2000, 15);
    const Distribution data = *Distribution::Of(values);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 1; i <= 1200; ++i) {
      const float limit = data.LargestMagnitude() * static_cast<float>(i) / 1000;
      best = std::min(best, SquaredError(values, {}, {-limit, limit}, kSymmetricInt8));
    }
    const Range range = least_squares.estimate(data, kSymmetricInt8, {})->range;
    EXPECT_LE(SquaredError(values, {}, range, kSymmetricInt8), best * 1.02);
  }
}

struct Figure {
  const char* estimator;
  Curve curve;
  Grid grid;
  double sqnr_db;
  double tolerance_db;
};

// SQNR of 131,072 values, measured with an independent implementation. It drew its values at
// random; the tolerance is 0.3 dB where that does not matter, and what chance moves the figure by
// (seen over a dozen draws) where the result hangs on a few values far out.
class MeasuredFigures : public ::testing::TestWithParam<Figure> {};

TEST_P(MeasuredFigures, AreReproduced) {
  const Figure& figure = GetParam();
  static const std::vector<float> draws[] = {EvenDraw(Curve::kGaussian, 131'072),
                                             EvenDraw(Curve::kLaplace, 131'072),
                                             EvenDraw(Curve::kRectified, 131'072)};
  const std::vector<float>& values = draws[static_cast<size_t>(figure.curve)];
  const RangeEstimator estimator = *FindRangeEstimator(figure.estimator);
  const Range exact = estimator.estimate(*Distribution::Of(values), figure.grid, {})->range;
  EXPECT_NEAR(SqnrOf(values, exact, figure.grid), figure.sqnr_db, figure.tolerance_db);
  const Range observed =
      estimator.estimate(*Distribution::Of(HistogramOf(values)), figure.grid, {})->range;
  EXPECT_NEAR(SqnrOf(values, observed, figure.grid), figure.sqnr_db, figure.tolerance_db);
}

std::string FigureName(const ::testing::TestParamInfo<Figure>& info) {
  const char* curves[] = {"Gaussian", "Laplace", "Rectified", "HeavyTailed"};
  return std::string(info.param.estimator) + curves[static_cast<int>(info.param.curve)] +
         (info.param.grid.symmetric ? "Symmetric" : "Asymmetric") +
         std::to_string(info.param.grid.steps() + 1);
}

INSTANTIATE_TEST_SUITE_P(
    Table, MeasuredFigures,
    ::testing::Values(
        Figure{"least_squares", Curve::kGaussian, kSymmetricInt8, 40.8, 0.3},
        Figure{"least_squares", Curve::kLaplace, kSymmetricInt8, 36.0, 0.8},
        Figure{"least_squares", Curve::kRectified, kSymmetricInt8, 40.3, 0.5},
        Figure{"least_squares", Curve::kGaussian, kAsymmetricUint8, 40.9, 0.3},
        Figure{"least_squares", Curve::kLaplace, kAsymmetricUint8, 36.2, 0.8},
        Figure{"least_squares", Curve::kRectified, kAsymmetricUint8, 45.7, 0.8},
        Figure{"least_squares", Curve::kGaussian, kSymmetricInt4, 18.8, 0.3},
        Figure{"least_squares", Curve::kLaplace, kSymmetricInt4, 15.8, 0.3},
        Figure{"least_squares", Curve::kRectified, kSymmetricInt4, 18.9, 0.3},
        Figure{"least_squares", Curve::kGaussian, kAsymmetricUint4, 19.2, 0.3},
        Figure{"least_squares", Curve::kLaplace, kAsymmetricUint4, 16.2, 0.3},
        Figure{"least_squares", Curve::kRectified, kAsymmetricUint4, 24.3, 0.3},
        Figure{"percentile", Curve::kGaussian, kSymmetricInt8, 40.8, 0.3},
        Figure{"percentile", Curve::kLaplace, kSymmetricInt8, 35.9, 0.8},
        Figure{"percentile", Curve::kRectified, kSymmetricInt8, 40.1, 0.5},
        Figure{"percentile", Curve::kGaussian, kAsymmetricUint8, 40.8, 0.5},
        Figure{"percentile", Curve::kLaplace, kAsymmetricUint8, 35.6, 1.3},
        Figure{"percentile", Curve::kRectified, kAsymmetricUint8, 43.8, 0.5},
        Figure{"min_max", Curve::kGaussian, kSymmetricInt8, 40.0, 0.3},
        Figure{"min_max", Curve::kLaplace, kSymmetricInt8, 34.3, 0.3},
        Figure{"min_max", Curve::kRectified, kSymmetricInt8, 39.3, 0.8},
        Figure{"min_max", Curve::kGaussian, kAsymmetricUint8, 40.2, 0.8},
        Figure{"min_max", Curve::kRectified, kAsymmetricUint8, 45.4, 0.8},
        Figure{"entropy", Curve::kGaussian, kSymmetricInt8, 40.0, 0.8},
        Figure{"entropy", Curve::kLaplace, kSymmetricInt4, 15.2, 0.8},
        Figure{"entropy", Curve::kRectified, kAsymmetricUint8, 45.4, 0.8},
        Figure{"histogram_equalization", Curve::kGaussian, kSymmetricInt8, 40.8, 0.3},
        Figure{"histogram_equalization", Curve::kLaplace, kSymmetricInt8, 36.0, 1.3},
        Figure{"histogram_equalization", Curve::kRectified, kSymmetricInt8, 40.1, 1.3},
        Figure{"histogram_equalization", Curve::kGaussian, kAsymmetricUint8, 40.9, 0.3},
        Figure{"histogram_equalization", Curve::kLaplace, kAsymmetricUint8, 36.1, 1.3},
        Figure{"histogram_equalization", Curve::kRectified, kAsymmetricUint8, 44.8, 1.3},
        Figure{"histogram_equalization", Curve::kGaussian, kSymmetricInt4, 18.8, 0.3},
        Figure{"histogram_equalization", Curve::kLaplace, kSymmetricInt4, 15.7, 0.3},
        Figure{"histogram_equalization", Curve::kRectified, kSymmetricInt4, 18.8, 0.3},
        Figure{"histogram_equalization", Curve::kGaussian, kAsymmetricUint4, 19.2, 0.3},
        Figure{"histogram_equalization", Curve::kLaplace, kAsymmetricUint4, 16.1, 0.3},
        Figure{"histogram_equalization", Curve::kRectified, kAsymmetricUint4, 24.3, 0.3},
        Figure{"decision_tree", Curve::kGaussian, kSymmetricInt8, 40.8, 0.3},
        Figure{"decision_tree", Curve::kLaplace, kSymmetricInt8, 36.0, 1.3},
        Figure{"decision_tree", Curve::kRectified, kSymmetricInt8, 40.1, 1.3},
        Figure{"decision_tree", Curve::kGaussian, kAsymmetricUint8, 40.8, 0.3},
        Figure{"decision_tree", Curve::kLaplace, kAsymmetricUint8, 36.2, 1.3},
        Figure{"decision_tree", Curve::kRectified, kAsymmetricUint8, 45.3, 1.3},
        Figure{"decision_tree", Curve::kGaussian, kSymmetricInt4, 18.8, 0.3},
        Figure{"decision_tree", Curve::kLaplace, kSymmetricInt4, 15.7, 0.8},
        Figure{"decision_tree", Curve::kRectified, kSymmetricInt4, 18.5, 0.8},
        Figure{"decision_tree", Curve::kGaussian, kAsymmetricUint4, 19.1, 0.3},
        Figure{"decision_tree", Curve::kLaplace, kAsymmetricUint4, 15.9, 0.8},
        Figure{"decision_tree", Curve::kRectified, kAsymmetricUint4, 24.2, 0.8}),
    FigureName);

}  // namespace
}  // namespace octet::quant
