// Values for tests of the quantizers, the same for the same seed.

#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace octet::quant {

// Normally distributed, deviation 1.
inline std::vector<float> Normal(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace octet::quant
