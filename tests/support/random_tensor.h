// Tensors of random elements, the same for the same seed.

#pragma once

#include <cstdint>
#include <random>
#include <utility>

#include "base/tensor.h"

namespace octet::testing {

// Normally distributed floats.
inline Tensor RandomFloats(Shape shape, uint32_t seed, float deviation = 1) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, std::move(shape));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  for (float& value : tensor.MutableAs<float>()) value = normal(random);
  return tensor;
}

// Codes from -largest to largest.
inline Tensor RandomCodes(Shape shape, uint32_t seed, int largest) {
  Tensor tensor = *Tensor::Allocate(DataType::kInt8, std::move(shape));
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> uniform(-largest, largest);
  for (int8_t& code : tensor.MutableAs<int8_t>()) code = static_cast<int8_t>(uniform(random));
  return tensor;
}

}  // namespace octet::testing
