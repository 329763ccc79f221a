// From the smallest to the largest value: nothing saturates, and the largest outlier decides how
// fine the grid is.

#include "quant/range_estimator.h"

namespace octet::quant::observers {
namespace {

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& /*grid*/,
                                       const EstimatorOptions& /*options*/) {
  return RangeEstimate{MinMaxRange(values)};
}

}  // namespace

RangeEstimator min_max() {
  return {
      .name = "min_max", .summary = "from the smallest to the largest value", .estimate = Estimate};
}

}  // namespace octet::quant::observers
