// How far quantized numbers are from the real ones.

#pragma once

#include <span>

namespace octet::quant {

inline constexpr double kHighestSqnr = 99;  // dB: no error, or nothing but zeroes to preserve

// Signal-to-quantization-noise ratio in dB, from the sums of squares of the values and of their
// errors; never above kHighestSqnr.
double Sqnr(double signal, double noise);

// Spans are equally long; sums are in double. Of empty spans: kHighestSqnr, 0 and 1.
double Sqnr(std::span<const float> expected, std::span<const float> actual);
double MeanSquaredError(std::span<const float> expected, std::span<const float> actual);

// <a, b> / (|a| |b|). 1 if both are all zero, 0 if one is.
double CosineSimilarity(std::span<const float> a, std::span<const float> b);

}  // namespace octet::quant
