#include "quant/bias_correction.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::quant {
namespace {

absl::Status CheckFinite(std::span<const float> values, absl::string_view what) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite ", what, ", found ", values[i], " at index ", i));
  }
  return absl::OkStatus();
}

absl::Status CheckSize(size_t found, size_t expected, absl::string_view what) {
  if (found == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, " ", what, ", found ", found));
}

absl::Status CheckInputs(const BiasCorrectionInputs& inputs) {
  const WeightRows& weights = inputs.weights;
  OCTET_RETURN_IF_ERROR(CheckRows(weights));
  if (inputs.groups < 1 || inputs.positions < 1 || weights.rows % inputs.groups != 0 ||
      weights.columns % inputs.positions != 0) {
    return absl::InvalidArgumentError(absl::StrCat(inputs.groups, " groups and ", inputs.positions,
                                                   " positions do not divide ", weights.rows, " x ",
                                                   weights.columns, " weights"));
  }
  const auto channels = static_cast<size_t>(inputs.groups * (weights.columns / inputs.positions));
  OCTET_RETURN_IF_ERROR(
      CheckSize(inputs.quantized.size(), weights.values.size(), "quantized weights"));
  OCTET_RETURN_IF_ERROR(CheckSize(inputs.mean.size(), channels, "means"));
  OCTET_RETURN_IF_ERROR(CheckSize(inputs.quantized_mean.size(), channels, "quantized means"));
  if (!inputs.bias.empty()) {
    OCTET_RETURN_IF_ERROR(
        CheckSize(inputs.bias.size(), static_cast<size_t>(weights.rows), "biases"));
  }
  OCTET_RETURN_IF_ERROR(CheckFinite(inputs.quantized, "quantized weights"));
  OCTET_RETURN_IF_ERROR(CheckFinite(inputs.mean, "means"));
  OCTET_RETURN_IF_ERROR(CheckFinite(inputs.quantized_mean, "quantized means"));
  return CheckFinite(inputs.bias, "biases");
}

double ChangeOf(const BiasCorrectionInputs& inputs, int64_t row) {
  const WeightRows& weights = inputs.weights;
  const int64_t channels = weights.columns / inputs.positions;
  const int64_t first_channel = row / (weights.rows / inputs.groups) * channels;
  double change = 0;
  for (int64_t column = 0; column < weights.columns; ++column) {
    const auto channel = static_cast<size_t>(first_channel + column / inputs.positions);
    const auto index = static_cast<size_t>(row * weights.columns + column);
    change += static_cast<double>(weights.values[index]) * inputs.mean[channel] -
              static_cast<double>(inputs.quantized[index]) * inputs.quantized_mean[channel];
  }
  return change;
}

}  // namespace

absl::StatusOr<BiasCorrection> CorrectBias(const BiasCorrectionInputs& inputs) {
  OCTET_RETURN_IF_ERROR(CheckInputs(inputs));
  double typical = 0;
  for (const float bias : inputs.bias) typical += std::abs(bias);
  if (!inputs.bias.empty()) typical /= static_cast<double>(inputs.bias.size());
  BiasCorrection result;
  for (int64_t row = 0; row < inputs.weights.rows; ++row) {
    const double bias = inputs.bias.empty() ? 0.0 : inputs.bias[static_cast<size_t>(row)];
    const double change = ChangeOf(inputs, row);
    result.bias.push_back(static_cast<float>(bias + change));
    if (typical > 0) {
      result.largest_ratio =
          std::max(result.largest_ratio, std::abs(change) / (std::abs(bias) + typical));
    }
  }
  return result;
}

}  // namespace octet::quant
