#include "quant/smooth_quant.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace octet::quant {
namespace {

constexpr double kSmallestFactor = 1e-5;
constexpr double kLargestFactor = 1e5;

absl::Status LengthError(size_t expected, size_t found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, " channels, found ", found));
}

bool IsMagnitude(float value) { return std::isfinite(value) && value >= 0; }

}  // namespace

absl::StatusOr<std::vector<float>> SmoothingFactors(std::span<const float> activation_magnitudes,
                                                    std::span<const float> weight_magnitudes,
                                                    double alpha) {
  if (activation_magnitudes.size() != weight_magnitudes.size()) {
    return LengthError(activation_magnitudes.size(), weight_magnitudes.size());
  }
  if (!(alpha >= 0 && alpha <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("alpha must be from 0 to 1, not ", alpha));
  }
  std::vector<float> factors;
  factors.reserve(weight_magnitudes.size());
  for (size_t i = 0; i < weight_magnitudes.size(); ++i) {
    const float activation = activation_magnitudes[i];
    const float weight = weight_magnitudes[i];
    if (!IsMagnitude(activation) || !IsMagnitude(weight)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected finite magnitudes, found ", activation, " and ", weight, " for channel ", i));
    }
    const double factor = activation > 0 && weight > 0
                              ? std::pow(activation, alpha) / std::pow(weight, 1 - alpha)
                              : 1.0;
    factors.push_back(static_cast<float>(std::clamp(factor, kSmallestFactor, kLargestFactor)));
  }
  return factors;
}

std::vector<float> ColumnMagnitudes(const WeightRows& weights) {
  std::vector<float> magnitudes(static_cast<size_t>(weights.columns));
  for (int64_t row = 0; row < weights.rows; ++row) {
    const std::span<const float> values = weights.Row(row);
    for (size_t i = 0; i < values.size(); ++i) {
      magnitudes[i] = std::max(magnitudes[i], std::abs(values[i]));
    }
  }
  return magnitudes;
}

absl::Status WidenMagnitudes(std::span<const float> other, std::span<float> magnitudes) {
  if (other.size() != magnitudes.size()) return LengthError(magnitudes.size(), other.size());
  for (size_t i = 0; i < other.size(); ++i) magnitudes[i] = std::max(magnitudes[i], other[i]);
  return absl::OkStatus();
}

absl::Status ScaleColumns(std::span<const float> factors, WeightRows& weights) {
  if (factors.size() != static_cast<size_t>(weights.columns)) {
    return LengthError(static_cast<size_t>(weights.columns), factors.size());
  }
  for (size_t i = 0; i < weights.values.size(); ++i) {
    weights.values[i] *= factors[i % factors.size()];
  }
  return absl::OkStatus();
}

}  // namespace octet::quant
