// The inner loops of quantization, compiled for every instruction set and chosen at run time.
//
// Thread-safe. Sums are added in an order that depends on the vector length, so their last digits
// differ between CPUs; everything else is the same everywhere.

#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "quant/affine.h"

namespace octet::quant {

// Zeroes are finite. NaN and infinities are counted and otherwise left out.
struct ScanResult {
  float min = std::numeric_limits<float>::infinity();   // of the finite values; +inf if none
  float max = -std::numeric_limits<float>::infinity();  // of the finite values; -inf if none
  double sum = 0;
  double sum_squares = 0;
  uint64_t zeros = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
};
ScanResult Scan(std::span<const float> values);

// bins[i] = floor(values[i] * inverse_width) - first for every value that is finite and not zero;
// one of the kSkippedBins from kSkippedBin on for the others. The product and the difference must
// be exact: inverse_width is a power of two, and results lie from 0 to 8191.
inline constexpr int32_t kSkippedBin = 8192;
inline constexpr int32_t kSkippedBins = 16;
void BinIndices(std::span<const float> values, float inverse_width, float first, int32_t* bins);

// What least squares needs of points x with weights h (1 if `weights` is empty) under a quantizer,
// where u is code - zero_point: one pass gives the error and the best scale for these codes, which
// is weighted_xu / weighted_uu. Relative accuracy 1e-5.
struct GridSums {
  double error = 0;        // sum of h (x - scale u)^2
  double weighted_xu = 0;  // sum of h x u
  double weighted_uu = 0;  // sum of h u^2
};
GridSums SumOverGrid(std::span<const float> points, std::span<const float> weights, Affine affine,
                     const Grid& grid);

// Quantize() of affine.h. `codes` has values.size() elements.
void QuantizeLoop(std::span<const float> values, Affine affine, const Grid& grid, int8_t* codes);
void QuantizeLoop(std::span<const float> values, Affine affine, const Grid& grid, uint8_t* codes);

}  // namespace octet::quant
