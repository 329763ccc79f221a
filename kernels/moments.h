// Mean and variance of contiguous floats, and what the normalizing operators do with them.

#pragma once

#include <span>

namespace octet::kernels {

struct Moments {
  float mean = 0;
  float variance = 0;  // of the population: divided by the count
};

// Two passes, so that a large mean costs no digits. Zeros for no elements.
Moments MomentsOf(std::span<const float> values);

float MeanOfSquares(std::span<const float> values);

// to = from * factor + offset. `to` is as large as `from`.
void ScaleAndShift(std::span<const float> from, float factor, float offset, float* to);

// to[i] = (from[i] - mean) * factor * scale[i] + shift[i]. `shift` may be null: zeros.
void NormalizeElements(std::span<const float> from, float mean, float factor, const float* scale,
                       const float* shift, float* to);

}  // namespace octet::kernels
