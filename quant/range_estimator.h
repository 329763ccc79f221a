// Choosing the range of a quantizer. Every file of observers/ is one way to do it and adds itself.

#pragma once

#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/distribution.h"

namespace octet::quant {

struct EstimatorOptions {
  double percentile = 99.99;  // above 50, at most 100
  int max_iterations = 10;    // of least squares, per starting point
  double tolerance = 1e-6;    // relative gain below which least squares stops
  // One more range to start from; least squares then is no worse than it.
  std::optional<Range> inherited;
};

struct RangeEstimate {
  Range range;  // contains zero
  // Too few values for this estimator: the range is min_max's.
  bool fell_back = false;
};

// Thread-safe and deterministic on one machine.
struct RangeEstimator {
  absl::string_view name;
  absl::string_view summary;
  absl::StatusOr<RangeEstimate> (*estimate)(const Distribution& values, const Grid& grid,
                                            const EstimatorOptions& options);
};

// All of them, in alphabetical order.
std::span<const RangeEstimator> RangeEstimators();

// NotFound if there is none; the message lists the names.
absl::StatusOr<RangeEstimator> FindRangeEstimator(absl::string_view name);

// The whole range of the values, widened to contain zero.
Range MinMaxRange(const Distribution& values);

}  // namespace octet::quant
