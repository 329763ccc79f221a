// Every instruction set of this machine against plain loops.

#include "quant/vector_loops.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace octet::quant {
namespace {

class VectorLoops : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }

  // Full of what needs care: ties, zeroes, NaN, infinities, tiny and huge values.
  std::vector<float> Values(size_t size) {
    const float special[] = {0.0f,
                             -0.0f,
                             0.5f,
                             -2.5f,
                             1e-42f,
                             3e38f,
                             -1e25f,
                             std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()};
    std::vector<float> values(size);
    for (float& value : values) {
      value = random_() % 8 == 0 ? special[random_() % std::size(special)] : normal_(random_);
    }
    return values;
  }

  std::vector<float> FiniteValues(size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = random_() % 8 == 0 ? 0 : normal_(random_);
    return values;
  }

  std::mt19937 random_{11};
  std::normal_distribution<float> normal_{0, 40};
};

constexpr size_t kSizes[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 100, 4096, 5001};

TEST_P(VectorLoops, Scan) {
  for (const size_t size : kSizes) {
    const std::vector<float> values = Values(size);
    ScanResult expected;
    for (const float value : values) {
      if (std::isnan(value)) {
        ++expected.nans;
      } else if (std::isinf(value)) {
        ++expected.infinities;
      } else {
        expected.min = std::min(expected.min, value);
        expected.max = std::max(expected.max, value);
        expected.sum += value;
        expected.sum_squares += static_cast<double>(value) * value;
        expected.zeros += value == 0 ? 1 : 0;
      }
    }
    const ScanResult scan = Scan(values);
    EXPECT_EQ(scan.min, expected.min);
    EXPECT_EQ(scan.max, expected.max);
    EXPECT_NEAR(scan.sum, expected.sum, 1e-12 * std::sqrt(expected.sum_squares * 1e4) + 1e-9);
    EXPECT_NEAR(scan.sum_squares, expected.sum_squares, 1e-12 * expected.sum_squares);
    EXPECT_EQ(scan.zeros, expected.zeros);
    EXPECT_EQ(scan.nans, expected.nans);
    EXPECT_EQ(scan.infinities, expected.infinities);
  }
}

TEST_P(VectorLoops, BinIndices) {
  for (const size_t size : kSizes) {
    std::vector<float> values = Values(size);
    for (float& value : values) {
      if (std::isfinite(value)) value = std::fmod(value, 100.0f);
    }
    std::vector<int32_t> bins(size);
    BinIndices(values, 8, -800, bins.data());
    for (size_t i = 0; i < size; ++i) {
      if (std::isfinite(values[i]) && values[i] != 0) {
        EXPECT_EQ(bins[i], static_cast<int32_t>(std::floor(values[i] * 8.0) + 800)) << values[i];
      } else {
        EXPECT_GE(bins[i], kSkippedBin);
        EXPECT_LT(bins[i], kSkippedBin + kSkippedBins);
      }
    }
  }
}

TEST_P(VectorLoops, SumOverGrid) {
  const Affine affine = {0.37f, 101};
  for (const size_t size : kSizes) {
    const std::vector<float> points = FiniteValues(size);
    std::vector<float> weights = FiniteValues(size);
    for (float& weight : weights) weight = std::ceil(std::abs(weight));
    for (const bool weighted : {false, true}) {
      GridSums expected;
      double tolerance = 0;
      for (size_t i = 0; i < size; ++i) {
        const double h = weighted ? weights[i] : 1;
        const double u = std::clamp<double>(std::nearbyint(points[i] / affine.scale), -101, 154);
        const double error = points[i] - static_cast<double>(affine.scale) * u;
        expected.error += h * error * error;
        tolerance += h * std::abs(error * points[i]) * 0x1p-21;
        expected.weighted_xu += h * points[i] * u;
        expected.weighted_uu += h * u * u;
      }
      const GridSums sums =
          SumOverGrid(points, weighted ? weights : std::vector<float>(), affine, kAsymmetricUint8);
      EXPECT_NEAR(sums.error, expected.error, tolerance);
      EXPECT_NEAR(sums.weighted_xu, expected.weighted_xu, 1e-6 * expected.weighted_xu);
      EXPECT_NEAR(sums.weighted_uu, expected.weighted_uu, 1e-6 * expected.weighted_uu);
    }
  }
}

// Squares of such values do not fit a float.
TEST_P(VectorLoops, SumOverGridDoesNotDependOnTheUnit) {
  const std::vector<float> points = FiniteValues(333);
  const GridSums sums = SumOverGrid(points, {}, {0.5f, 0}, kSymmetricInt8);
  for (const int exponent : {-90, 90}) {
    std::vector<float> scaled = points;
    for (float& value : scaled) value = std::ldexp(value, exponent);
    const GridSums same = SumOverGrid(scaled, {}, {std::ldexp(0.5f, exponent), 0}, kSymmetricInt8);
    EXPECT_EQ(same.error, std::ldexp(sums.error, 2 * exponent));
    EXPECT_EQ(same.weighted_uu, sums.weighted_uu);
  }
}

TEST_P(VectorLoops, QuantizeDividesAndRoundsAsDefined) {
  for (const Affine affine : {Affine{1, 0}, Affine{0.37f, 0}, Affine{1e-30f, 0}}) {
    for (const size_t size : kSizes) {
      const std::vector<float> values = Values(size);
      std::vector<int8_t> codes(size);
      QuantizeLoop(values, affine, kSymmetricInt8, codes.data());
      std::vector<uint8_t> shifted_codes(size);
      const Affine shifted = {affine.scale, 128};
      QuantizeLoop(values, shifted, kAsymmetricUint8, shifted_codes.data());
      for (size_t i = 0; i < size; ++i) {
        const float steps = std::isnan(values[i]) ? 0.0f : std::nearbyint(values[i] / affine.scale);
        EXPECT_EQ(codes[i], std::clamp(steps, -127.0f, 127.0f)) << values[i];
        EXPECT_EQ(shifted_codes[i], std::clamp(steps, -128.0f, 127.0f) + 128) << values[i];
      }
    }
  }
}

// Halfway between two codes a product with the reciprocal often rounds the other way.
TEST_P(VectorLoops, QuantizeDividesAtTheThresholds) {
  for (const float scale : {0.37f, 0.0123f, 3.0f, 1 / 127.0f}) {
    std::vector<float> values;
    for (int i = -127; i < 127; ++i) values.push_back((static_cast<float>(i) + 0.5f) * scale);
    std::vector<int8_t> codes(values.size());
    QuantizeLoop(values, {scale, 0}, kSymmetricInt8, codes.data());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(codes[i], std::nearbyint(values[i] / scale)) << values[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, VectorLoops,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

}  // namespace
}  // namespace octet::quant
