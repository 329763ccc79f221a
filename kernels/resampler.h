// Separable interpolation: every output position of an axis is a weighted sum of input positions.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/tensor.h"

namespace octet::kernels {

// For each of `output` positions: `taps` source indices and their weights.
struct AxisFilter {
  static constexpr int64_t kOutside = -1;  // the first source of a position that takes the fill

  int64_t output = 0;
  int64_t taps = 0;              // 0: the axis is copied as it is
  std::vector<int64_t> sources;  // output * taps
  std::vector<float> weights;    // output * taps
};

// To nearest, saturated; to bool: whether it is not zero.
template <typename T>
T FromFloat(float value) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(value);
  if constexpr (std::is_same_v<T, bool>) return value != 0;
  if (!(value > static_cast<float>(Limits::lowest()))) return Limits::lowest();
  if (value >= static_cast<float>(Limits::max())) return Limits::max();
  return static_cast<T>(std::nearbyint(value));
}

// Applies one filter after another, those that shrink the tensor first. Immutable after
// construction, thread-safe.
class Resampler {
 public:
  // One filter for each dimension of `input`, which must not be empty; `fill` is the value of
  // positions outside.
  Resampler(const Shape& input, std::vector<AxisFilter> filters, float fill);

  // Memory that Run() needs besides its operands.
  size_t scratch_bytes() const { return 2 * buffer_floats_ * sizeof(float); }

  // Dense and row-major; T is float, or an integer type whose results are rounded to nearest and
  // saturated. `scratch` is aligned for float.
  template <typename T>
  void Run(const T* from, T* to, std::byte* scratch) const;

 private:
  struct Pass {
    AxisFilter filter;
    int64_t outer = 1, inner = 1;
    int64_t input = 1;  // size of the axis before the pass
  };

  void RunPass(const Pass& pass, const float* from, float* to) const;
  void CombineRows(const Pass& pass, int64_t position, const float* from, float* to) const;
  int64_t SizeAfter(const Pass& pass) const { return pass.outer * pass.filter.output * pass.inner; }

  std::vector<Pass> passes_;
  int64_t input_size_;
  int64_t output_size_;
  float fill_;
  size_t buffer_floats_ = 0;  // of the largest intermediate result
};

}  // namespace octet::kernels
