#include "kernels/vector_math.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

// Every length of tail, small and large arguments.
std::vector<float> Arguments() {
  std::vector<float> values = {0, -0.0f, 1e-30f, 1, -1, 0.99999f, 1.00001f, 50, -50};
  for (int i = -1000; i <= 1000; ++i) values.push_back(static_cast<float>(i) * 0.0123f);
  return values;
}

template <typename Vector, typename Exact>
void ExpectClose(Vector vector, Exact exact, double tolerance) {
  const std::vector<float> from = Arguments();
  for (size_t size = from.size() - 40; size <= from.size(); ++size) {
    std::vector<float> to(size);
    vector(std::span(from).first(size), std::span(to));
    for (size_t i = 0; i < size; ++i) {
      const double wanted = exact(static_cast<double>(from[i]));
      ASSERT_NEAR(to[i], wanted, tolerance * std::max(1e-4, std::abs(wanted))) << from[i];
    }
  }
}

TEST(VectorMath, Erf) {
  ExpectClose(VectorErf, [](double x) { return std::erf(x); }, 2e-6);
}

TEST(VectorMath, Softplus) {
  ExpectClose(
      VectorSoftplus,
      [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }, 2e-6);
}

TEST(VectorMath, SigmoidAndTanh) {
  ExpectClose(VectorSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 2e-6);
  ExpectClose(VectorTanh, [](double x) { return std::tanh(x); }, 2e-6);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> large = {-kInfinity, -300, 300, kInfinity};
  std::vector<float> to(4);
  VectorSigmoid(large, to);
  EXPECT_EQ(to, (std::vector<float>{0, 0, 1, 1}));
  VectorTanh(large, to);
  EXPECT_EQ(to, (std::vector<float>{-1, -1, 1, 1}));
}

TEST(VectorMath, SinAndCos) {
  ExpectClose(VectorSin, [](double x) { return std::sin(x); }, 2e-3);
  ExpectClose(VectorCos, [](double x) { return std::cos(x); }, 2e-3);
  const std::vector<float> large = {1e6f, 0.5f, -3e7f};
  std::vector<float> to(3);
  VectorSin(large, to);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(to[i], std::sin(double{large[i]}), 1e-6);
}

TEST(VectorMath, HandsNanOn) {
  const std::vector<float> nan(5, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> to(5);
  for (auto* function :
       {VectorErf, VectorSin, VectorCos, VectorSoftplus, VectorSigmoid, VectorTanh}) {
    function(nan, to);
    for (const float value : to) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(VectorMath, Infinities) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> from = {infinity, -infinity};
  std::vector<float> to(2);
  VectorErf(from, to);
  EXPECT_EQ(to, (std::vector<float>{1, -1}));
  VectorSoftplus(from, to);
  EXPECT_EQ(to[0], infinity);
  EXPECT_EQ(to[1], 0);
}

TEST(VectorMath, Sums) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.5f, 2);
  for (size_t size = 0; size < 200; ++size) {
    std::vector<float> row(size);
    double sum = 0, squares = 0, absolutes = 0;
    for (float& x : row) {
      x = normal(random);
      sum += x;
      squares += double{x} * x;
      absolutes += std::abs(x);
    }
    EXPECT_NEAR(SumOf(row), sum, 1e-4);
    EXPECT_NEAR(SumOfSquares(row), squares, 1e-3);
    EXPECT_NEAR(SumOfAbsolutes(row), absolutes, 1e-3);
  }
}

}  // namespace
}  // namespace octet::kernels
