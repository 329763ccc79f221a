// Codebooks and the tree behind them: definitions, and SQNR figures of an independent
// implementation. What every codebook promises is in contract_test.cc.

#include "quant/codebook.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/measures.h"
#include "quant/range_estimator.h"
#include "quant/testing/normal_values.h"
#include "quant/value_tree.h"

namespace octet::quant {
namespace {

using ::testing::ElementsAre;

std::vector<float> Laplace(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::exponential_distribution<float> exponential;
  std::vector<float> values(size);
  for (float& value : values) value = exponential(random) * (random() % 2 == 0 ? 1.0f : -1.0f);
  return values;
}

double SqnrUnder(const std::vector<float>& values, const Codebook& codebook) {
  std::vector<uint8_t> codes(values.size());
  std::vector<float> back(values.size());
  Encode(values, codebook, codes);
  Decode(codes, codebook, back);
  return Sqnr(values, back);
}

TEST(Codebook, PutsThresholdsMidway) {
  const Codebook codebook = NearestLevels(std::vector<double>{-1, 0, 0, 4});
  EXPECT_THAT(codebook.levels, ElementsAre(-1, 0, 4));
  EXPECT_THAT(codebook.thresholds, ElementsAre(-0.5f, 2));
  std::vector<uint8_t> codes(5);
  Encode(std::vector<float>{-9, -0.6f, -0.4f, 1.9f, 1e30f}, codebook, codes);
  EXPECT_THAT(codes, ElementsAre(0, 0, 1, 1, 2));
}

TEST(Codebook, RefusesWhatItCannotFit) {
  const std::vector<float> values = {1, 2, 3};
  const auto code = [](std::vector<float> of, std::vector<float> weights, int bits,
                       const char* algorithm = "least_squares") {
    return FitCodebook(algorithm, of, weights, bits, {}).status().code();
  };
  EXPECT_EQ(code(values, {}, 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(values, {}, 9), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(values, {1, 2}, 4), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(values, {1, -2, 1}, 4), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1, std::nanf("")}, {}, 4), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(values, {}, 4, "min_max"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(values, {}, 4, "magic"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code({}, {}, 4), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(values, {0, 0, 0}, 4), absl::StatusCode::kFailedPrecondition);
}

TEST(Codebook, LetsHeavierValuesHaveTheLevels) {
  std::vector<float> values = Normal(4000, 3);
  std::vector<float> weights;
  weights.reserve(values.size());
  for (const float value : values) weights.push_back(value > 0 ? 1.0f : 1e-6f);
  for (const char* algorithm : {"least_squares", "decision_tree"}) {
    const Codebook even = *FitCodebook(algorithm, values, {}, 4, {});
    const Codebook uneven = *FitCodebook(algorithm, values, weights, 4, {});
    const auto above = [](const Codebook& codebook) {
      return std::count_if(codebook.levels.begin(), codebook.levels.end(),
                           [](float level) { return level > 0; });
    };
    EXPECT_NEAR(static_cast<double>(above(even)), 8, 1);
    EXPECT_GE(above(uneven), 14);
  }
}

// The optimum by dynamic programming over all ways to cut the sorted values.
double LeastError(std::vector<float> values, size_t levels) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  std::vector<double> sum(n + 1), squares(n + 1);
  for (size_t i = 0; i < n; ++i) {
    sum[i + 1] = sum[i] + values[i];
    squares[i + 1] = squares[i] + static_cast<double>(values[i]) * values[i];
  }
  std::vector<double> least(n + 1, std::numeric_limits<double>::infinity());
  least[0] = 0;
  for (size_t level = 0; level < levels; ++level) {
    std::vector<double> next(n + 1, std::numeric_limits<double>::infinity());
    for (size_t end = 1; end <= n; ++end) {
      for (size_t begin = 0; begin < end; ++begin) {
        const double s = sum[end] - sum[begin];
        const double error =
            squares[end] - squares[begin] - s * s / static_cast<double>(end - begin);
        next[end] = std::min(next[end], least[begin] + std::max(error, 0.0));
      }
    }
    least = next;
  }
  return least[n];
}

TEST(LeastSquaresCodebook, IsNearTheOptimum) {
  double found = 0;
  double optimal = 0;
  for (uint32_t seed = 0; seed < 10; ++seed) {
    const std::vector<float> values = seed % 2 == 0 ? Normal(200, seed) : Laplace(200, seed);
    const Codebook codebook = *FitCodebook("least_squares", values, {}, 3, {});
    const double error = SquaredError(DistinctCells(values, {}), codebook);
    const double least = LeastError(values, 8);
    EXPECT_GE(error, least * (1 - 1e-6));
    EXPECT_LE(error, least * 1.35);
    found += error;
    optimal += least;
  }
  EXPECT_LE(found, optimal * 1.15);
}

// Lloyd-Max levels of the normal distribution (Max, 1960): 8 levels have a squared error of
// 0.03454, 16 levels one of 0.009497.
TEST(LeastSquaresCodebook, FindsMaxsLevelsOfTheNormalDistribution) {
  const std::vector<float> values = Normal(200'000, 5);
  EXPECT_NEAR(SqnrUnder(values, *FitCodebook("least_squares", values, {}, 3, {})),
              -10 * std::log10(0.03454), 0.1);
  EXPECT_NEAR(SqnrUnder(values, *FitCodebook("least_squares", values, {}, 4, {})),
              -10 * std::log10(0.009497), 0.1);
}

struct Figure {
  const char* algorithm;
  bool laplace;
  int bits;
  double gamma;
  double sqnr_db;
};

class CodebookFigures : public ::testing::TestWithParam<Figure> {};

TEST_P(CodebookFigures, AreReproduced) {
  const Figure& figure = GetParam();
  static const std::vector<float> normal = Normal(131'072, 7);
  static const std::vector<float> laplace = Laplace(131'072, 8);
  const std::vector<float>& values = figure.laplace ? laplace : normal;
  EstimatorOptions options;
  options.codebook_gamma = figure.gamma;
  const Codebook codebook = *FitCodebook(figure.algorithm, values, {}, figure.bits, options);
  const double tolerance_db = figure.laplace ? 0.8 : 0.4;
  const double sqnr_db = SqnrUnder(values, codebook);
  EXPECT_GT(sqnr_db, figure.sqnr_db - tolerance_db);
  // The figures of equalization with gamma below 1 were taken with each value at the level of its
  // cell. Here it takes the nearest one, which is better where cells are wide.
  EXPECT_LT(sqnr_db, figure.sqnr_db + (figure.gamma < 1 ? 2.5 : tolerance_db));
}

INSTANTIATE_TEST_SUITE_P(
    Table, CodebookFigures,
    ::testing::Values(
        Figure{"histogram_equalization", false, 8, 1, 31.6},
        Figure{"histogram_equalization", false, 8, 0.5, 40.0},
        Figure{"histogram_equalization", false, 8, 1.0 / 3, 42.3},
        Figure{"histogram_equalization", true, 8, 1, 25.1},
        Figure{"histogram_equalization", false, 4, 1, 16.8},
        Figure{"histogram_equalization", false, 4, 0.5, 19.7},
        Figure{"histogram_equalization", false, 4, 1.0 / 3, 20.2},
        Figure{"histogram_equalization", true, 4, 1.0 / 3, 18.1},
        Figure{"decision_tree", false, 8, 1, 43.6}, Figure{"decision_tree", true, 8, 1, 41.9},
        Figure{"decision_tree", false, 4, 1, 20.0}, Figure{"decision_tree", true, 4, 1, 18.1},
        Figure{"least_squares", false, 8, 1, 43.8}, Figure{"least_squares", true, 8, 1, 42.2},
        Figure{"least_squares", false, 4, 1, 20.2}, Figure{"least_squares", true, 4, 1, 18.2}));

TEST(HistogramEqualizationCodebook, FillsCellsEvenlyWithGamma1) {
  EstimatorOptions options;
  options.codebook_gamma = 1;
  for (const size_t size : {100, 1000, 1003}) {
    const std::vector<float> values = Normal(size, 11);
    const Codebook codebook = *FitCodebook("histogram_equalization", values, {}, 4, options);
    ASSERT_EQ(codebook.levels.size(), 16u);
    // The cells are those of ranks, not of thresholds: their means show which values they hold.
    std::vector<float> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    size_t begin = 0;
    for (const float level : codebook.levels) {
      bool found = false;
      for (const size_t count : {size / 16, size / 16 + 1}) {
        const size_t end = std::min(begin + count, size);
        const double mean =
            std::accumulate(sorted.begin() + static_cast<std::ptrdiff_t>(begin),
                            sorted.begin() + static_cast<std::ptrdiff_t>(end), 0.0) /
            static_cast<double>(end - begin);
        if (std::abs(mean - level) > 1e-5) continue;
        found = true;
        begin = end;
        break;
      }
      ASSERT_TRUE(found) << level;
    }
    EXPECT_EQ(begin, size);
  }
}

TEST(HistogramEqualization, RefusesWhatIsNoGamma) {
  const std::vector<float> values = Normal(2000, 12);
  const RangeEstimator estimator = *FindRangeEstimator("histogram_equalization");
  for (const double bad : {0.0, -1.0, 1.5, std::nan("")}) {
    EstimatorOptions options;
    options.gamma = bad;
    options.codebook_gamma = bad;
    EXPECT_EQ(
        estimator.estimate(*Distribution::Of(values), kSymmetricInt8, options).status().code(),
        absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(FitCodebook("histogram_equalization", values, {}, 4, options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// The square root of the normal density is normal again, sqrt(2) times as wide.
TEST(HistogramEqualization, ClipsTheNormalDistributionWhereTheoryDoes) {
  const std::vector<float> values = Normal(1'000'000, 13);
  const RangeEstimator estimator = *FindRangeEstimator("histogram_equalization");
  const Distribution data = *Distribution::Of(values);
  // So far out most bins are empty or hold one value: the density there is underestimated.
  EXPECT_NEAR(estimator.estimate(data, kSymmetricInt8, {})->range.high, 4.08, 0.2);
  EXPECT_NEAR(estimator.estimate(data, kSymmetricInt4, {})->range.high, 2.63, 0.05);
  EXPECT_NEAR(estimator.estimate(data, kAsymmetricUint4, {})->range.low, -2.63, 0.05);
}

TEST(ValueTree, SplitsWhereMostErrorGoes) {
  const std::vector<Cell> cells = DistinctCells(std::vector<float>{0, 1, 10, 11, 11, 30}, {});
  ASSERT_EQ(cells.size(), 5u);
  EXPECT_EQ(cells[3].weight, 2);
  const std::vector<Leaf> leaves = GrowTree(cells, 3);
  ASSERT_EQ(leaves.size(), 3u);
  EXPECT_DOUBLE_EQ(leaves[0].mean, 0.5);
  EXPECT_DOUBLE_EQ(leaves[1].mean, 32.0 / 3);
  EXPECT_DOUBLE_EQ(leaves[2].mean, 30);
  EXPECT_DOUBLE_EQ(leaves[0].error, 0.5);
  EXPECT_NEAR(leaves[1].error, 2.0 / 3, 1e-12);
}

TEST(ValueTree, HasAsManyLeavesAsThereAreValues) {
  std::vector<float> values = Normal(100, 14);
  values[17] = -1e30f;
  values[18] = 1e-30f;
  const std::vector<Cell> cells = DistinctCells(values, {});
  EXPECT_EQ(GrowTree(cells, 256).size(), cells.size());
  EXPECT_EQ(GrowTree(cells, 256, TreeGrowth::kBalanced).size(), cells.size());
  EXPECT_TRUE(GrowTree({}, 16).empty());
  EXPECT_EQ(GrowTree(cells, 1).size(), 1u);
}

TEST(ValueTree, LosesErrorWithEveryLeafAndLessWhenBalanced) {
  std::vector<float> values = Laplace(3000, 15);
  for (float& value : values) value = value * value * value;  // far from spread evenly
  const std::vector<Cell> cells = DistinctCells(values, {});
  const auto error = [&](size_t leaves, TreeGrowth growth) {
    double sum = 0;
    for (const Leaf& leaf : GrowTree(cells, leaves, growth)) sum += leaf.error;
    return sum;
  };
  double before = error(1, TreeGrowth::kBestFirst);
  for (size_t leaves = 2; leaves <= 64; ++leaves) {
    const double now = error(leaves, TreeGrowth::kBestFirst);
    EXPECT_LT(now, before);
    before = now;
  }
  EXPECT_LT(error(16, TreeGrowth::kBestFirst), error(16, TreeGrowth::kBalanced));
}

TEST(Cells, AreSummedUpBeyondAMillionValues) {
  std::vector<float> values = Normal(Distribution::kMostExactValues + 1, 16);
  const std::vector<Cell> cells = DistinctCells(values, {});
  EXPECT_LE(cells.size(), static_cast<size_t>(Distribution::kFineBins));
  double weight = 0;
  double squares = 0;
  for (const Cell& cell : cells) {
    weight += cell.weight;
    squares += cell.weight * cell.mean * cell.mean + cell.error;
  }
  double expected = 0;
  for (const float value : values) expected += static_cast<double>(value) * value;
  EXPECT_EQ(weight, static_cast<double>(values.size()));
  EXPECT_NEAR(squares, expected, 1e-6 * expected);
}

}  // namespace
}  // namespace octet::quant
