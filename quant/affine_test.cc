#include "quant/affine.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/measures.h"

namespace octet::quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<int8_t> Codes(std::vector<float> values, Affine affine, const Grid& grid) {
  std::vector<int8_t> codes(values.size());
  Quantize(values, affine, grid, codes);
  return codes;
}

TEST(AffineFor, SpreadsSymmetricGridsByTheLargestMagnitude) {
  EXPECT_EQ(AffineFor({-2, 1}, kSymmetricInt8), (Affine{2.0f / 127, 0}));
  EXPECT_EQ(AffineFor({0.5f, 3}, kSymmetricInt8), (Affine{3.0f / 127, 0}));
  EXPECT_EQ(AffineFor({-2, 1}, kSymmetricInt7), (Affine{2.0f / 63, 0}));
}

TEST(AffineFor, PutsZeroOnTheGrid) {
  EXPECT_EQ(AffineFor({0, 255}, kAsymmetricUint8), (Affine{1, 0}));
  EXPECT_EQ(AffineFor({-255, 0}, kAsymmetricUint8), (Affine{1, 255}));
  EXPECT_EQ(AffineFor({-51, 204}, kAsymmetricUint8), (Affine{1, 51}));
  EXPECT_EQ(AffineFor({10, 255}, kAsymmetricUint8), (Affine{1, 0}));  // widened to zero
  EXPECT_EQ(AffineFor({-255, -10}, kAsymmetricUint8), (Affine{1, 255}));
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-10, 10);
  for (int i = 0; i < 1000; ++i) {
    const Range range = {uniform(random), uniform(random)};
    const Affine affine = AffineFor(range, kAsymmetricUint8);
    std::vector<uint8_t> code(1);
    std::vector<float> value(1);
    Quantize(value, affine, kAsymmetricUint8, code);
    Dequantize(code, affine, value);
    EXPECT_EQ(value[0], 0.0f);
  }
}

TEST(AffineFor, SurvivesDegenerateRanges) {
  EXPECT_EQ(AffineFor({0, 0}, kAsymmetricUint8), (Affine{1, 0}));
  EXPECT_EQ(AffineFor({0, 0}, kSymmetricInt8), (Affine{1, 0}));
  EXPECT_EQ(AffineFor({0, 1e-40f}, kAsymmetricUint8).scale, kSmallestScale);
  EXPECT_EQ(AffineFor({-1e-40f, 0}, kSymmetricInt8).scale, kSmallestScale);
  const float largest = std::numeric_limits<float>::max();
  const Affine widest = AffineFor({-largest, largest}, kAsymmetricUint8);
  EXPECT_TRUE(std::isfinite(widest.scale));
  EXPECT_EQ(widest.zero_point, 128);
}

TEST(AffineFor, IsUndoneByRangeOf) {
  for (const Grid& grid : {kSymmetricInt8, kSymmetricInt7, kAsymmetricUint8}) {
    const Affine affine = AffineFor({-3, 5}, grid);
    const Affine again = AffineFor(RangeOf(affine, grid), grid);
    EXPECT_EQ(again.zero_point, affine.zero_point);
    EXPECT_NEAR(again.scale / affine.scale, 1, 1e-6);
  }
}

TEST(Quantize, RoundsHalfToEvenAndSaturates) {
  EXPECT_THAT(Codes({0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 2.4f, 2.6f}, {1, 0}, kSymmetricInt8),
              ElementsAre(0, 2, 2, 0, -2, 2, 3));
  EXPECT_THAT(Codes({127.4f, 128, 1e30f, -128, -1e30f}, {1, 0}, kSymmetricInt8),
              ElementsAre(127, 127, 127, -127, -127));
  EXPECT_THAT(Codes({64, -64}, {1, 0}, kSymmetricInt7), ElementsAre(63, -63));
}

TEST(Quantize, RoundsBeforeTheZeroPointIsAdded) {
  std::vector<uint8_t> codes(5);
  Quantize(std::vector<float>{0.5f, 1.5f, -1000, 1000, 0}, {1, 3}, kAsymmetricUint8, codes);
  EXPECT_THAT(codes, ElementsAre(3, 5, 0, 255, 3));
}

TEST(Quantize, DefinesWhatBecomesOfNonFiniteValues) {
  std::vector<uint8_t> codes(3);
  Quantize(std::vector<float>{kNan, kInfinity, -kInfinity}, {1, 7}, kAsymmetricUint8, codes);
  EXPECT_THAT(codes, ElementsAre(7, 255, 0));
}

TEST(QuantizeTensor, UsesTheScaleOfEachChannelAlongTheAxis) {
  const Tensor values = Tensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const graph::QuantParams columns = {.scales = {1, 0.5f, 3}, .zero_points = {0, 0, 0}, .axis = 1};
  const Tensor by_column = *QuantizeTensor(values.view(), columns, kSymmetricInt8);
  EXPECT_THAT(by_column.As<int8_t>(), ElementsAre(1, 4, 1, 4, 10, 2));
  const graph::QuantParams rows = {.scales = {1, 2}, .zero_points = {0, 0}, .axis = 0};
  const Tensor by_row = *QuantizeTensor(values.view(), rows, kSymmetricInt8);
  EXPECT_THAT(by_row.As<int8_t>(), ElementsAre(1, 2, 3, 2, 2, 3));
  const Tensor back = *DequantizeTensor(by_column.view(), columns);
  EXPECT_THAT(back.As<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(QuantizeTensor, RefusesParametersThatDoNotFit) {
  const Tensor values = Tensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto message = [&](const graph::QuantParams& params) {
    const absl::Status status = QuantizeTensor(values.view(), params, kAsymmetricUint8).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({.scales = {1, 1}, .zero_points = {0, 0}, .axis = 1}),
              HasSubstr("expected 3 scales"));
  EXPECT_THAT(message({.scales = {1}, .zero_points = {256}}), HasSubstr("zero point 256"));
  EXPECT_THAT(message({.scales = {0}, .zero_points = {0}}), HasSubstr("positive and finite"));
  EXPECT_THAT(message({.scales = {kNan}, .zero_points = {0}}), HasSubstr("positive and finite"));
  EXPECT_THAT(message({.scales = {1}, .zero_points = {0}, .axis = 2}), HasSubstr("axis 2"));
  EXPECT_FALSE(DequantizeTensor(values.view(), {.scales = {1}, .zero_points = {0}}).ok());
}

TEST(Measures, FollowTheirDefinitions) {
  const std::vector<float> values = {3, 4};
  const std::vector<float> others = {3, 3.5f};
  EXPECT_DOUBLE_EQ(MeanSquaredError(values, others), 0.125);
  EXPECT_DOUBLE_EQ(Sqnr(values, others), 20);  // 25 over 0.25
  EXPECT_DOUBLE_EQ(CosineSimilarity(values, std::vector<float>{4, 3}), 0.96);
}

TEST(Measures, AreDefinedForNothingAndForPerfection) {
  const std::vector<float> zeros = {0, 0};
  const std::vector<float> values = {1, 2};
  EXPECT_EQ(Sqnr(values, values), kHighestSqnr);
  EXPECT_EQ(Sqnr(zeros, zeros), kHighestSqnr);
  EXPECT_EQ(Sqnr(1e30, 1e-30), kHighestSqnr);
  EXPECT_EQ(CosineSimilarity(zeros, zeros), 1);
  EXPECT_EQ(CosineSimilarity(zeros, values), 0);
}

}  // namespace
}  // namespace octet::quant
