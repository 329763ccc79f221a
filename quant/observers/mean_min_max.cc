// The mean over samples of each sample's smallest and largest value: one unusual sample does not
// widen the range for all others. Values without samples (weights) have one range, min_max's.

#include <algorithm>

#include "quant/range_estimator.h"

namespace octet::quant::observers {
namespace {

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& /*grid*/,
                                       const EstimatorOptions& /*options*/) {
  if (values.sample_ranges().empty()) return RangeEstimate{MinMaxRange(values)};
  double low = 0;
  double high = 0;
  for (const Range& range : values.sample_ranges()) {
    low += range.low;
    high += range.high;
  }
  const auto samples = static_cast<double>(values.sample_ranges().size());
  return RangeEstimate{{.low = std::min(static_cast<float>(low / samples), 0.0f),
                        .high = std::max(static_cast<float>(high / samples), 0.0f)}};
}

}  // namespace

RangeEstimator mean_min_max() {
  return {.name = "mean_min_max",
          .summary = "mean over samples of their smallest and largest value",
          .estimate = Estimate};
}

}  // namespace octet::quant::observers
