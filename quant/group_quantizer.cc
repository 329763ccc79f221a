#include "quant/group_quantizer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/data_type.h"
#include "base/status.h"

namespace octet::quant {
namespace {

// Scales of up to 2^15 leave float16's normal numbers 2^29 below the largest.
constexpr int kHalfHeadroom = 14;
constexpr int kSmallestScaleExponent = -100;  // of kSmallestScale
constexpr uint16_t kSmallestHalf = 1;

}  // namespace

int ScaleExponent(float largest) {
  if (!(largest > 0)) return 0;
  return std::max(std::ilogb(largest) - kHalfHeadroom, kSmallestScaleExponent);
}

Affine WithStorableScale(Affine affine, int exponent) {
  uint16_t half = FloatToHalf(std::ldexp(affine.scale, -exponent));
  half = std::max(half, kSmallestHalf);
  affine.scale = std::ldexp(HalfToFloat(half), exponent);
  return affine;
}

absl::StatusOr<Affine> ChooseQuantizer(std::span<const float> values, const Grid& grid,
                                       const RangeEstimator& estimator,
                                       const EstimatorOptions& options, int exponent,
                                       std::span<const float> importance) {
  OCTET_ASSIGN_OR_RETURN(const Distribution distribution, Distribution::Of(values, importance));
  if (distribution.LargestMagnitude() == 0) return Affine{std::ldexp(1.0f, exponent), 0};
  OCTET_ASSIGN_OR_RETURN(const RangeEstimate estimate,
                         estimator.estimate(distribution, grid, options));
  const Affine affine = AffineFor(estimate.range, grid);
  if (estimate.range == Range()) return Affine{std::ldexp(1.0f, exponent), affine.zero_point};
  return WithStorableScale(affine, exponent);
}

int32_t CodeOf(float value, Affine affine, const Grid& grid) {
  const float steps = std::nearbyint(value / affine.scale);
  const auto first = static_cast<float>(grid.first - affine.zero_point);
  const auto last = static_cast<float>(grid.last - affine.zero_point);
  return static_cast<int32_t>(std::clamp(steps, first, last)) + affine.zero_point;
}

absl::StatusOr<GroupedCodes> QuantizeGroups(const WeightRows& weights,
                                            const GroupOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckRows(weights));
  OCTET_ASSIGN_OR_RETURN(const RangeEstimator estimator, FindRangeEstimator(options.estimator));
  if (options.group < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a group of at least 1 column, or 0, not ", options.group));
  }
  const int64_t group =
      options.group == 0 ? weights.columns : std::min(options.group, weights.columns);
  GroupedCodes result{.grid = options.grid,
                      .rows = weights.rows,
                      .columns = weights.columns,
                      .group = group,
                      .exponent = ScaleExponent(weights.LargestMagnitude()),
                      .codes = {},
                      .quantizers = {}};
  result.codes.reserve(weights.values.size());
  for (int64_t row = 0; row < weights.rows; ++row) {
    for (int64_t begin = 0; begin < weights.columns; begin += group) {
      const auto count = static_cast<size_t>(std::min(group, weights.columns - begin));
      const auto values = weights.Row(row).subspan(static_cast<size_t>(begin), count);
      OCTET_ASSIGN_OR_RETURN(
          const Affine affine,
          ChooseQuantizer(values, options.grid, estimator, options.estimator_options,
                          result.exponent, weights.Importance(static_cast<size_t>(begin), count)));
      result.quantizers.push_back(affine);
      for (const float value : values) {
        result.codes.push_back(static_cast<int16_t>(CodeOf(value, affine, options.grid)));
      }
    }
  }
  return result;
}

std::vector<float> Dequantize(const GroupedCodes& codes) {
  std::vector<float> values;
  values.reserve(codes.codes.size());
  for (int64_t row = 0; row < codes.rows; ++row) {
    for (int64_t column = 0; column < codes.columns; ++column) {
      values.push_back(ValueOf(codes.codes[static_cast<size_t>(row * codes.columns + column)],
                               codes.QuantizerOf(row, column)));
    }
  }
  return values;
}

}  // namespace octet::quant
