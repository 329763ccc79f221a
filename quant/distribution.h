// The values that a quantizer's range is chosen for: those of a weight tensor or of one of its
// channels, or what calibration remembers of an activation.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/affine.h"
#include "quant/histogram.h"

namespace octet::quant {

// Immutable: thread-safe. Always of at least one value, and of finite ones only.
class Distribution {
 public:
  Distribution(Distribution&&) = default;
  Distribution& operator=(Distribution&&) = default;

  // Up to this many values are used as they are; more are summarized by kFineBins bins.
  static constexpr size_t kMostExactValues = size_t{1} << 20;
  static constexpr int kFineBins = 16384;

  // `values` must outlive the distribution. FailedPrecondition when empty, InvalidArgument for NaN
  // or infinity.
  static absl::StatusOr<Distribution> Of(std::span<const float> values);

  // The same where an error at a value counts as often as `importance` says: one number for each
  // value, not negative and some of them positive, which scale does not matter for. Empty: once.
  static absl::StatusOr<Distribution> Of(std::span<const float> values,
                                         std::span<const float> importance);

  // FailedPrecondition if the histogram has no finite value.
  static absl::StatusOr<Distribution> Of(const Histogram& histogram);

  // The values as points, each standing for `weights` values (for one, if weights is empty). Points
  // are ascending when there are weights.
  std::span<const float> points() const { return points_; }
  std::span<const float> weights() const { return weights_; }

  float min() const { return min_; }
  float max() const { return max_; }
  float LargestMagnitude() const;
  uint64_t count() const { return count_; }

  // The value below which `share` (0 to 1) of the values lie, interpolated.
  float Quantile(double share) const;
  // The same of the values' magnitudes.
  float MagnitudeQuantile(double share) const;

  // Counts of |x| in equal bins from 0 to LargestMagnitude(), without the zeroes.
  std::vector<double> MagnitudeCounts(int bins) const;

  // The ranges of single samples; empty for weights, which have no samples.
  std::span<const Range> sample_ranges() const { return sample_ranges_; }

  // The sum of squared errors under the quantizer that spreads `grid` over `range`. What the
  // estimators minimize.
  double SquaredError(Range range, const Grid& grid) const;

  // The sum of squares that SquaredError() adds for having points instead of the values.
  double error_within_points() const { return error_within_points_; }

 private:
  Distribution() = default;
  void Sort(std::span<const float> values, std::span<const float> importance);
  void Summarize(std::span<const float> values, std::span<const float> importance);

  std::vector<float> own_points_;  // empty: points_ is the caller's memory
  std::span<const float> points_;
  std::vector<float> weights_;
  double point_width_ = 0;  // over how much the values of a point are spread
  double error_within_points_ = 0;
  float min_ = 0;
  float max_ = 0;
  uint64_t count_ = 0;
  std::vector<Range> sample_ranges_;
};

}  // namespace octet::quant
