// What the tests of int8 kernels share: random quantized operands, and the exact arithmetic behind
// the integer sums, in double.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "tests/support/single_node.h"

namespace octet::kernels {

class RandomOperands {
 public:
  explicit RandomOperands(unsigned seed) : engine_(seed) {}

  int64_t Integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  bool Coin() { return Integer(0, 1) == 1; }
  float Real(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine_);
  }

  Tensor Floats(Shape shape, float low, float high) {
    std::vector<float> values(static_cast<size_t>(ElementCount(shape)));
    for (float& value : values) value = Real(low, high);
    return Tensor::Of<float>(std::move(shape), values);
  }
  template <typename T>
  Tensor Codes(Shape shape, int64_t low, int64_t high) {
    std::vector<T> values(static_cast<size_t>(ElementCount(shape)));
    for (T& value : values) value = static_cast<T>(Integer(low, high));
    return Tensor::Of<T>(std::move(shape), values);
  }

  // Activation codes of the whole range of their type.
  testing::Operand Activation(Shape shape, bool is_unsigned, bool has_zero_point) {
    const int64_t zero_point = !has_zero_point ? 0 : is_unsigned ? Integer(1, 255) : Integer(-9, 9);
    return {.tensor = is_unsigned ? Codes<uint8_t>(std::move(shape), 0, 255)
                                  : Codes<int8_t>(std::move(shape), -127, 127),
            .quant = testing::PerTensor(Real(0.005f, 0.02f), static_cast<int32_t>(zero_point))};
  }

  // Weights of the range that this CPU multiplies exactly, with one scale or, along `axis`, many.
  testing::Operand Weights(Shape shape, std::optional<int> axis) {
    const int64_t largest = HasVnni() ? 127 : 63;
    std::vector<float> scales(axis ? static_cast<size_t>(shape[*axis]) : 1);
    for (float& scale : scales) scale = Real(0.002f, 0.01f);
    return {.tensor = Codes<int8_t>(std::move(shape), -largest, largest),
            .constant = true,
            .quant = axis ? testing::PerChannel(scales, *axis) : testing::PerTensor(scales[0], 0)};
  }

 private:
  std::mt19937 engine_;
};

inline int64_t Code(const Tensor& tensor, int64_t i) {
  const auto at = static_cast<size_t>(i);
  return tensor.dtype() == DataType::kUint8 ? int64_t{tensor.As<uint8_t>()[at]}
                                            : int64_t{tensor.As<int8_t>()[at]};
}

inline double RealOf(const testing::Operand& operand, int64_t i) {
  if (!operand.quant) return operand.tensor.As<float>()[static_cast<size_t>(i)];
  return operand.quant->scales[0] *
         static_cast<double>(Code(operand.tensor, i) - operand.quant->zero_points[0]);
}

// The fused chain on one element; `residual` is what Add reads.
inline double Chain(const std::vector<graph::FusedOp>& fused, double y, double residual) {
  for (const graph::FusedOp& op : fused) {
    if (op.op == "Relu") y = std::max(y, 0.0);
    if (op.op == "Clip") y = std::clamp(y, double{op.alpha}, double{op.beta});
    if (op.op == "Add") y += residual;
  }
  return y;
}

// Codes may be off by one where the exact result lies halfway between two, nowhere else, so almost
// all are equal; floats agree to a few units in the last place of the largest.
inline void ExpectExact(const Tensor& actual, const std::vector<double>& expected,
                        const graph::TensorType& type) {
  ASSERT_EQ(actual.size(), static_cast<int64_t>(expected.size()));
  double largest = 0;
  for (const double y : expected) largest = std::max(largest, std::abs(y));
  int64_t differ = 0;
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double y = expected[static_cast<size_t>(i)];
    if (!type.quant) {
      ASSERT_NEAR(actual.As<float>()[static_cast<size_t>(i)], y, 4e-6 * largest + 1e-6)
          << "at " << i;
      continue;
    }
    const bool is_unsigned = type.dtype == DataType::kUint8;
    const double code =
        std::clamp(std::nearbyint(y / type.quant->scales[0]) + type.quant->zero_points[0],
                   is_unsigned ? 0.0 : -128.0, is_unsigned ? 255.0 : 127.0);
    const int64_t difference = Code(actual, i) - static_cast<int64_t>(code);
    ASSERT_LE(std::abs(difference), 1) << "at " << i << ", expected " << code;
    differ += difference != 0;
  }
  EXPECT_LE(differ, 1 + actual.size() / 500);
}

}  // namespace octet::kernels
