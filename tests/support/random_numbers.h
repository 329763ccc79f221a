// Random numbers that are the same on every platform: the distributions of <random> are not.

#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

namespace octet::testing {

class RandomNumbers {
 public:
  explicit RandomNumbers(uint64_t seed) : engine_(seed) {}

  // In [0, count).
  int64_t Below(int64_t count) {
    return static_cast<int64_t>(engine_() % static_cast<uint64_t>(count));
  }
  bool Chance(double probability) { return Unit() < probability; }
  float Between(float low, float high) { return low + static_cast<float>(Unit()) * (high - low); }
  float Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Unit()));
    return static_cast<float>(radius * std::cos(2 * std::numbers::pi * Unit()));
  }

 private:
  double Unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

  std::mt19937_64 engine_;
};

}  // namespace octet::testing
