#include "quant/codebook.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/range_estimator.h"

namespace octet::quant {
namespace {

absl::Status CheckArguments(std::span<const float> values, std::span<const float> weights,
                            int bits) {
  if (bits < 1 || bits > 8) {
    return absl::InvalidArgumentError(absl::StrCat("expected 1 to 8 bits, not ", bits));
  }
  if (values.empty()) return absl::FailedPreconditionError("there are no values to fit levels to");
  if (!weights.empty() && weights.size() != values.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", values.size(), " weights, found ", weights.size()));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite values, found ", values[i], " at index ", i));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (std::isfinite(weights[i]) && weights[i] >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite weights of at least 0, found ", weights[i], " at index ", i));
  }
  return absl::OkStatus();
}

// At the smallest float that is nearer to the level above, or as near.
float Between(float below, float above) {
  const auto middle =
      static_cast<float>(below + (static_cast<double>(above) - static_cast<double>(below)) / 2);
  return middle > below ? middle : above;
}

size_t CodeOf(double value, const Codebook& codebook) {
  const auto& thresholds = codebook.thresholds;
  return static_cast<size_t>(std::upper_bound(thresholds.begin(), thresholds.end(), value) -
                             thresholds.begin());
}

}  // namespace

Codebook NearestLevels(std::span<const double> levels) {
  Codebook codebook;
  for (const double level : levels) {
    const auto rounded = static_cast<float>(level);
    if (!codebook.levels.empty()) {
      if (!(rounded > codebook.levels.back())) continue;
      codebook.thresholds.push_back(Between(codebook.levels.back(), rounded));
    }
    codebook.levels.push_back(rounded);
  }
  return codebook;
}

absl::StatusOr<Codebook> FitCodebook(absl::string_view algorithm, std::span<const float> values,
                                     std::span<const float> weights, int bits,
                                     const EstimatorOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckArguments(values, weights, bits));
  OCTET_ASSIGN_OR_RETURN(const RangeEstimator estimator, FindRangeEstimator(algorithm));
  if (estimator.fit_codebook == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("'", algorithm, "' has no codebook form"));
  }
  const std::vector<Cell> cells = DistinctCells(values, weights);
  if (cells.empty()) return absl::FailedPreconditionError("all weights are 0");
  const size_t levels = size_t{1} << bits;
  if (cells.size() > levels) return estimator.fit_codebook(cells, levels, options);
  std::vector<double> all;
  all.reserve(cells.size());
  for (const Cell& cell : cells) all.push_back(cell.mean);
  return NearestLevels(all);
}

void Encode(std::span<const float> values, const Codebook& codebook, std::span<uint8_t> codes) {
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = static_cast<uint8_t>(CodeOf(values[i], codebook));
  }
}

void Decode(std::span<const uint8_t> codes, const Codebook& codebook, std::span<float> values) {
  for (size_t i = 0; i < codes.size(); ++i) values[i] = codebook.levels[codes[i]];
}

double SquaredError(std::span<const Cell> cells, const Codebook& codebook) {
  double error = 0;
  size_t code = 0;
  for (const Cell& cell : cells) {
    while (code < codebook.thresholds.size() && codebook.thresholds[code] <= cell.mean) ++code;
    const double distance = cell.mean - codebook.levels[code];
    error += cell.error + cell.weight * distance * distance;
  }
  return error;
}

}  // namespace octet::quant
