#include "quant/measures.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace octet::quant {
namespace {

double NoiseOf(std::span<const float> expected, std::span<const float> actual) {
  double noise = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = static_cast<double>(expected[i]) - actual[i];
    noise += error * error;
  }
  return noise;
}

double Product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

double Sqnr(double signal, double noise) {
  if (noise == 0) return kHighestSqnr;
  return std::min(kHighestSqnr, 10 * std::log10(signal / noise));
}

double Sqnr(std::span<const float> expected, std::span<const float> actual) {
  return Sqnr(Product(expected, expected), NoiseOf(expected, actual));
}

double MeanSquaredError(std::span<const float> expected, std::span<const float> actual) {
  if (expected.empty()) return 0;
  return NoiseOf(expected, actual) / static_cast<double>(expected.size());
}

double CosineSimilarity(std::span<const float> a, std::span<const float> b) {
  const double norms = std::sqrt(Product(a, a)) * std::sqrt(Product(b, b));
  if (norms > 0) return Product(a, b) / norms;
  return Product(a, a) == Product(b, b) ? 1 : 0;
}

}  // namespace octet::quant
