#include "kernels/row_quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

std::vector<float> Random(size_t size, float low, float high) {
  std::mt19937 engine(static_cast<unsigned>(size));
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> values(size);
  for (float& value : values) value = distribution(engine);
  return values;
}

struct Quantized {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
};

Quantized Quantize(const std::vector<float>& values, int64_t rows, int64_t depth, int64_t stride) {
  Quantized result{.codes = std::vector<uint8_t>(static_cast<size_t>(rows * stride), 0xEE),
                   .scales = std::vector<float>(static_cast<size_t>(rows)),
                   .zero_points = std::vector<int32_t>(static_cast<size_t>(rows))};
  QuantizeRowsToUint8(values.data(), {rows, depth, stride}, result.codes.data(),
                      result.scales.data(), result.zero_points.data());
  return result;
}

// Every length around the vector length, numbers far outside the range, and halves.
TEST(QuantizeElements, IsDivisionRoundedHalfToEven) {
  const float scale = 0.25f;
  for (size_t size = 1; size < 70; ++size) {
    std::vector<float> values = Random(size, -80, 80);
    values[0] = 1e30f;
    values[size / 2] = -1e30f;
    values[size - 1] = 0.375f;  // one and a half steps: two
    std::vector<uint8_t> codes(size + 1, 0xEE);
    std::vector<int8_t> signed_codes(size + 1, 0x77);
    QuantizeElements(values.data(), static_cast<int64_t>(size), scale, 100, codes.data());
    QuantizeElements(values.data(), static_cast<int64_t>(size), scale, -3, signed_codes.data());
    for (size_t i = 0; i < size; ++i) {
      const double steps = std::nearbyint(double{values[i]} / scale);
      ASSERT_EQ(codes[i], std::clamp(steps + 100, 0.0, 255.0)) << values[i];
      ASSERT_EQ(signed_codes[i], std::clamp(steps - 3, -128.0, 127.0)) << values[i];
    }
    EXPECT_EQ(codes[size], 0xEE);
    EXPECT_EQ(signed_codes[size], 0x77);
  }
}

// Depths around the vector length, and signs on both sides and on one.
TEST(RowQuantizer, EveryElementIsWithinHalfAStep) {
  for (const auto& [low, high] : {std::pair(-1.0f, 3.0f), {0.5f, 2.0f}, {-7.0f, -1.0f}}) {
    for (int64_t depth = 1; depth < 70; ++depth) {
      const std::vector<float> values = Random(static_cast<size_t>(3 * depth), low, high);
      const int64_t stride = depth + depth % 5;
      const Quantized result = Quantize(values, 3, depth, stride);
      for (int64_t r = 0; r < 3; ++r) {
        const auto row = values.begin() + r * depth;
        const float least = std::min(0.0f, *std::min_element(row, row + depth));
        const float most = std::max(0.0f, *std::max_element(row, row + depth));
        EXPECT_FLOAT_EQ(result.scales[r], (most - least) / 255);
        for (int64_t k = 0; k < depth; ++k) {
          const float back = result.scales[r] * static_cast<float>(result.codes[r * stride + k] -
                                                                   result.zero_points[r]);
          // The zero point is rounded too, so elements at the ends may be cut by half a step.
          ASSERT_NEAR(back, row[k], 1.01 * result.scales[r]) << depth << " " << k;
        }
        for (int64_t k = depth; k < stride; ++k) {
          EXPECT_EQ(result.codes[r * stride + k], result.zero_points[r]);
        }
      }
    }
  }
}

TEST(RowQuantizer, ZeroIsExact) {
  const Quantized result = Quantize({-0.3f, 0.0f, 0.77f}, 1, 3, 3);
  EXPECT_EQ(result.codes[1], result.zero_points[0]);
}

TEST(RowQuantizer, RowsOfZeros) {
  const Quantized result = Quantize(std::vector<float>(40, 0.0f), 2, 20, 20);
  EXPECT_EQ(result.scales[0], 1.0f);
  for (const uint8_t code : result.codes) EXPECT_EQ(code, 0);
}

TEST(RowQuantizer, SignedCodesAreSymmetric) {
  const std::vector<float> values = Random(100, -2, 1);
  std::vector<int8_t> codes(104);
  float scale = 0;
  QuantizeRowsToInt8(values.data(), {1, 100, 104}, codes.data(), &scale);
  float largest = 0;
  for (const float x : values) largest = std::max(largest, std::abs(x));
  EXPECT_FLOAT_EQ(scale, largest / 127);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(static_cast<float>(codes[i]) * scale, values[i], 0.501f * scale);
    ASSERT_GE(codes[i], -127);
  }
  EXPECT_EQ(codes[103], 0);
}

// Such numbers have no code, but nothing may break.
TEST(RowQuantizer, NumbersThatAreNotFiniteDoNoHarm) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN(), 3e38f}) {
    std::vector<float> values = Random(33, -1, 1);
    values[7] = bad;
    values[32] = -bad;
    const Quantized result = Quantize(values, 1, 33, 36);
    EXPECT_GE(result.zero_points[0], 0);
    EXPECT_LE(result.zero_points[0], 255);
  }
}

}  // namespace
}  // namespace octet::kernels
