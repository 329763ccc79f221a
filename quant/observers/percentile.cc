// Clips the outermost values so that `percentile` of them stay in range: a few outliers then
// saturate instead of stretching the grid for everyone else.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "quant/range_estimator.h"

namespace octet::quant::observers {
namespace {

constexpr uint64_t kFewestValues = 1000;  // below, the quantile is a matter of chance

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& grid,
                                       const EstimatorOptions& options) {
  if (!(options.percentile > 50 && options.percentile <= 100)) {
    return absl::InvalidArgumentError(
        absl::StrCat("percentile must be above 50 and at most 100, not ", options.percentile));
  }
  if (values.count() < kFewestValues) {
    return RangeEstimate{.range = MinMaxRange(values), .fell_back = true};
  }
  const double share = options.percentile / 100;
  if (grid.symmetric) {
    const float limit = values.MagnitudeQuantile(share);
    return RangeEstimate{{-limit, limit}};
  }
  const float low = values.min() < 0 ? values.Quantile(1 - share) : 0;
  const float high = values.max() > 0 ? values.Quantile(share) : 0;
  return RangeEstimate{{std::min(low, 0.0f), std::max(high, 0.0f)}};
}

}  // namespace

RangeEstimator percentile() {
  return {.name = "percentile",
          .summary = "the range that a percentile of the values lie in (99.99 by default)",
          .estimate = Estimate};
}

}  // namespace octet::quant::observers
