#include "kernels/moments.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

// A mean a thousand times the deviation, where one pass would lose the variance.
TEST(Moments, AgreeWithDoublePrecision) {
  for (size_t size = 1; size < 100; ++size) {
    std::vector<float> values(size);
    for (size_t i = 0; i < size; ++i) values[i] = 1000 + std::sin(static_cast<float>(7 * i));
    double mean = 0, variance = 0, squares = 0;
    for (const float x : values) mean += x / static_cast<double>(size);
    for (const float x : values) {
      variance += (x - mean) * (x - mean) / static_cast<double>(size);
      squares += double{x} * x / static_cast<double>(size);
    }
    const Moments moments = MomentsOf(values);
    EXPECT_NEAR(moments.mean, mean, 1e-3);
    EXPECT_NEAR(moments.variance, variance, 1e-4);
    EXPECT_NEAR(MeanOfSquares(values) / squares, 1, 1e-5);
  }
}

TEST(Moments, OfNothing) {
  EXPECT_EQ(MomentsOf({}).mean, 0);
  EXPECT_EQ(MeanOfSquares({}), 0);
}

TEST(Moments, ScaleAndShiftEveryElement) {
  const std::vector<float> values(37, 3.0f);
  std::vector<float> scale(37), shift(37), to(38, -1);
  for (size_t i = 0; i < 37; ++i) {
    scale[i] = static_cast<float>(i);
    shift[i] = 1;
  }
  ScaleAndShift(values, 2, 0.5f, to.data());
  EXPECT_EQ(to[0], 6.5f);
  EXPECT_EQ(to[36], 6.5f);
  NormalizeElements(values, 1, 0.5f, scale.data(), shift.data(), to.data());
  for (size_t i = 0; i < 37; ++i) EXPECT_EQ(to[i], static_cast<float>(i) + 1);
  NormalizeElements(values, 1, 0.5f, scale.data(), nullptr, to.data());
  EXPECT_EQ(to[36], 36);
  EXPECT_EQ(to[37], -1);
}

}  // namespace
}  // namespace octet::kernels
