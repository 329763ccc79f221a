#include "quant/distribution.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "quant/vector_loops.h"

namespace octet::quant {
namespace {

absl::Status NonFiniteError(std::span<const float> values) {
  const auto bad = std::find_if_not(values.begin(), values.end(),
                                    [](float value) { return std::isfinite(value); });
  return absl::InvalidArgumentError(
      absl::StrCat("expected finite values, found ", *bad, " at index ", bad - values.begin()));
}

// Interpolates between the two values around the quantile; reorders `values`.
float ExactQuantile(std::vector<float> values, double share) {
  const double position = share * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(position);
  std::nth_element(values.begin(), below, values.end());
  const double fraction = position - std::floor(position);
  if (fraction == 0) return *below;
  const float above = *std::min_element(below + 1, values.end());
  return static_cast<float>(*below + fraction * (static_cast<double>(above) - *below));
}

// `points` ascend; the values of each are spread over `width` around it.
float WeightedQuantile(std::span<const float> points, std::span<const float> weights, double width,
                       double share) {
  double total = 0;
  for (const float weight : weights) total += weight;
  const double wanted = share * total;
  double below = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    if (below + weights[i] >= wanted) {
      const double fraction = weights[i] > 0 ? (wanted - below) / weights[i] : 0.5;
      return static_cast<float>(points[i] + (fraction - 0.5) * width);
    }
    below += weights[i];
  }
  return points.back();
}

}  // namespace

absl::StatusOr<Distribution> Distribution::Of(std::span<const float> values) {
  return Of(values, {});
}

absl::StatusOr<Distribution> Distribution::Of(std::span<const float> values,
                                              std::span<const float> importance) {
  if (values.empty()) return absl::FailedPreconditionError("there are no values to choose for");
  const ScanResult scan = Scan(values);
  if (scan.nans + scan.infinities > 0) return NonFiniteError(values);
  Distribution distribution;
  distribution.min_ = scan.min;
  distribution.max_ = scan.max;
  distribution.count_ = values.size();
  if (values.size() > kMostExactValues) {
    distribution.Summarize(values, importance);
  } else if (importance.empty()) {
    distribution.points_ = values;
  } else {
    distribution.Sort(values, importance);
  }
  return distribution;
}

void Distribution::Sort(std::span<const float> values, std::span<const float> importance) {
  std::vector<std::pair<float, float>> pairs;
  pairs.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) pairs.emplace_back(values[i], importance[i]);
  std::sort(pairs.begin(), pairs.end());
  for (const auto& [point, weight] : pairs) {
    own_points_.push_back(point);
    weights_.push_back(weight);
  }
  points_ = own_points_;
}

// A point is the mean of its bin's values, so that a quantizer that does not cut the bin makes
// exactly the error of the point, times its weight, plus error_within_points_.
void Distribution::Summarize(std::span<const float> values, std::span<const float> importance) {
  struct Bin {
    double count = 0;
    double sum = 0;
    double sum_squares = 0;
  };
  std::vector<Bin> bins(kFineBins);
  const double span = static_cast<double>(max_) - min_;
  const double inverse_width = span > 0 ? kFineBins / span : 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i], weight = importance.empty() ? 1 : importance[i];
    const double position = (value - min_) * inverse_width;
    Bin& bin = bins[static_cast<size_t>(std::min<double>(position, kFineBins - 1))];
    bin.count += weight;
    bin.sum += weight * value;
    bin.sum_squares += weight * value * value;
  }
  for (const Bin& bin : bins) {
    if (bin.count == 0) continue;
    own_points_.push_back(static_cast<float>(bin.sum / bin.count));
    weights_.push_back(static_cast<float>(bin.count));
    error_within_points_ += std::max(0.0, bin.sum_squares - bin.sum * bin.sum / bin.count);
  }
  points_ = own_points_;
  point_width_ = span / kFineBins;
}

absl::StatusOr<Distribution> Distribution::Of(const Histogram& histogram) {
  if (histogram.count() == 0) {
    return absl::FailedPreconditionError("no finite values were observed");
  }
  Distribution distribution;
  distribution.min_ = histogram.min();
  distribution.max_ = histogram.max();
  distribution.count_ = histogram.count();
  distribution.sample_ranges_ = histogram.SampleRanges();
  distribution.point_width_ = histogram.bin_width();
  const auto add = [&](double point, uint64_t count) {
    if (count == 0) return;
    const double inside = std::clamp<double>(point, histogram.min(), histogram.max());
    distribution.own_points_.push_back(static_cast<float>(inside));
    distribution.weights_.push_back(static_cast<float>(count));
  };
  bool zeros_added = histogram.zeros() == 0;
  const std::span<const uint64_t> bins = histogram.bins();
  for (size_t i = 0; i < bins.size(); ++i) {
    const int64_t bin = histogram.first_bin() + static_cast<int64_t>(i);
    if (bin >= 0 && !std::exchange(zeros_added, true)) add(0, histogram.zeros());
    add((static_cast<double>(bin) + 0.5) * histogram.bin_width(), bins[i]);
  }
  if (!zeros_added) add(0, histogram.zeros());
  distribution.points_ = distribution.own_points_;
  return distribution;
}

float Distribution::LargestMagnitude() const { return std::max(std::abs(min_), std::abs(max_)); }

float Distribution::Quantile(double share) const {
  if (weights_.empty()) return ExactQuantile({points_.begin(), points_.end()}, share);
  return std::clamp(WeightedQuantile(points_, weights_, point_width_, share), min_, max_);
}

float Distribution::MagnitudeQuantile(double share) const {
  if (weights_.empty()) {
    std::vector<float> magnitudes(points_.begin(), points_.end());
    for (float& value : magnitudes) value = std::abs(value);
    return ExactQuantile(std::move(magnitudes), share);
  }
  std::vector<std::pair<float, float>> pairs;
  pairs.reserve(points_.size());
  for (size_t i = 0; i < points_.size(); ++i) pairs.emplace_back(std::abs(points_[i]), weights_[i]);
  std::sort(pairs.begin(), pairs.end());
  std::vector<float> points;
  std::vector<float> weights;
  for (const auto& [point, weight] : pairs) {
    points.push_back(point);
    weights.push_back(weight);
  }
  return std::clamp(WeightedQuantile(points, weights, point_width_, share), 0.0f,
                    LargestMagnitude());
}

std::vector<double> Distribution::MagnitudeCounts(int bins) const {
  std::vector<double> counts(static_cast<size_t>(bins));
  const float largest = LargestMagnitude();
  if (largest == 0) return counts;
  const double inverse_width = bins / static_cast<double>(largest);
  for (size_t i = 0; i < points_.size(); ++i) {
    if (points_[i] == 0) continue;
    const double position = std::min<double>(std::abs(points_[i]) * inverse_width, bins - 1);
    counts[static_cast<size_t>(position)] += weights_.empty() ? 1 : weights_[i];
  }
  return counts;
}

double Distribution::SquaredError(Range range, const Grid& grid) const {
  const GridSums sums = SumOverGrid(points_, weights_, AffineFor(range, grid), grid);
  return sums.error + error_within_points_;
}

}  // namespace octet::quant
