// Equalizes the histogram of the values raised to a power gamma: in the coordinate
//
//   F(x) = integral of density^gamma up to x / integral of density^gamma
//
// all cells of the quantizer are equally wide. gamma 1 is textbook equalization (F is the
// cumulative distribution), 1/3 is asymptotically optimal for the squared error (Panter and Dite,
// 1951), towards 0 the cells become uniform in x.
//
// As a codebook each cell's level is the mean of the values in it. As a range half a cell is left
// outside at each end and the grid is uniform in between; with gamma 1/2 the ends are near the
// optimal ones for normal and Laplace distributions.

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/range_estimator.h"

namespace octet::quant::observers {
namespace {

absl::Status CheckGamma(double gamma) {
  if (gamma > 0 && gamma <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("gamma must be above 0 and at most 1, not ", gamma));
}

// Few values need wide bins, else the estimate of the density degenerates to their positions.
size_t BinsFor(double count, const EstimatorOptions& options) {
  if (options.bins > 0) return options.bins;
  return std::clamp<size_t>(4 * static_cast<size_t>(std::ceil(std::cbrt(count))), 16, 2048);
}

class EqualizedCoordinate {
 public:
  EqualizedCoordinate(double low, double high, size_t bins, double gamma)
      : low_(low), width_((high - low) / static_cast<double>(bins)), gamma_(gamma), mass_(bins) {}

  void Count(double value, double weight) { mass_[BinOf(value)] += weight; }

  // To be called once, after counting.
  void Integrate() {
    cumulative_.assign(1, 0);
    for (const double mass : mass_) {
      cumulative_.push_back(cumulative_.back() + (mass > 0 ? std::pow(mass, gamma_) : 0));
    }
  }

  bool Empty() const { return cumulative_.back() == 0; }

  double At(double value) const {
    const size_t bin = BinOf(value);
    const double fraction = width_ > 0 ? std::clamp((value - Edge(bin)) / width_, 0.0, 1.0) : 0.5;
    return (cumulative_[bin] + fraction * (cumulative_[bin + 1] - cumulative_[bin])) /
           cumulative_.back();
  }

  double Inverse(double share) const {
    const double wanted = share * cumulative_.back();
    const auto above = std::lower_bound(cumulative_.begin() + 1, cumulative_.end(), wanted);
    if (above == cumulative_.end()) return Edge(mass_.size());
    const auto bin = static_cast<size_t>(above - cumulative_.begin() - 1);
    const double mass = cumulative_[bin + 1] - cumulative_[bin];
    return Edge(bin) + (mass > 0 ? (wanted - cumulative_[bin]) / mass : 1) * width_;
  }

 private:
  double Edge(size_t bin) const { return low_ + static_cast<double>(bin) * width_; }
  size_t BinOf(double value) const {
    if (!(width_ > 0)) return 0;
    const auto last = static_cast<double>(mass_.size() - 1);
    return static_cast<size_t>(std::clamp((value - low_) / width_, 0.0, last));
  }

  const double low_;
  const double width_;
  const double gamma_;
  std::vector<double> mass_;
  std::vector<double> cumulative_;
};

bool HasMoreDistinct(std::span<const float> points, size_t wanted) {
  absl::flat_hash_set<float> seen;
  for (const float point : points) {
    seen.insert(point);
    if (seen.size() > wanted) return true;
  }
  return false;
}

EqualizedCoordinate CoordinateOf(const Distribution& values, bool magnitudes,
                                 const EstimatorOptions& options) {
  const double low = magnitudes ? 0 : values.min();
  const double high = magnitudes ? values.LargestMagnitude() : values.max();
  EqualizedCoordinate coordinate(low, high, BinsFor(static_cast<double>(values.count()), options),
                                 options.gamma);
  const std::span<const float> points = values.points();
  for (size_t i = 0; i < points.size(); ++i) {
    // What a rectifier has set to zero says nothing about where to clip.
    if (points[i] == 0) continue;
    const double weight = values.weights().empty() ? 1 : values.weights()[i];
    coordinate.Count(magnitudes ? std::abs(points[i]) : points[i], weight);
  }
  coordinate.Integrate();
  return coordinate;
}

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& grid,
                                       const EstimatorOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckGamma(options.gamma));
  const Range whole = MinMaxRange(values);
  const size_t cells = std::bit_ceil(static_cast<size_t>(grid.steps()) + 1);
  if (values.count() < 4 * cells) return RangeEstimate{.range = whole, .fell_back = true};
  if (!HasMoreDistinct(values.points(), cells)) return RangeEstimate{whole};
  const EqualizedCoordinate coordinate = CoordinateOf(values, grid.symmetric, options);
  if (coordinate.Empty()) return RangeEstimate{whole};
  const double half_cell = 0.5 / static_cast<double>(cells);
  if (grid.symmetric) {
    const auto limit = static_cast<float>(coordinate.Inverse(1 - 2 * half_cell));
    return RangeEstimate{{-limit, limit}};
  }
  const double low = whole.low < 0 ? coordinate.Inverse(half_cell) : 0;
  const double high = whole.high > 0 ? coordinate.Inverse(1 - half_cell) : 0;
  return RangeEstimate{
      {std::min(static_cast<float>(low), 0.0f), std::max(static_cast<float>(high), 0.0f)}};
}

// The equalized position of each cell. With gamma 1 it is its rank, which needs no histogram and
// makes all cells hold the same number of values, give or take one.
std::vector<double> Positions(std::span<const Cell> cells, const EstimatorOptions& options) {
  const double gamma = options.codebook_gamma;
  double total = 0;
  for (const Cell& cell : cells) total += cell.weight;
  std::vector<double> positions;
  positions.reserve(cells.size());
  if (gamma == 1) {
    double below = 0;
    for (const Cell& cell : cells) {
      positions.push_back((below + cell.weight / 2) / total);
      below += cell.weight;
    }
    return positions;
  }
  EqualizedCoordinate coordinate(cells.front().mean, cells.back().mean,
                                 BinsFor(static_cast<double>(cells.size()), options), gamma);
  // Shares rather than weights: only their ratio counts.
  for (const Cell& cell : cells) coordinate.Count(cell.mean, cell.weight / total);
  coordinate.Integrate();
  for (const Cell& cell : cells) positions.push_back(coordinate.At(cell.mean));
  return positions;
}

absl::StatusOr<Codebook> Fit(std::span<const Cell> cells, size_t levels,
                             const EstimatorOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckGamma(options.codebook_gamma));
  const std::vector<double> positions = Positions(cells, options);
  struct Sum {
    double weight = 0;
    double weighted = 0;
  };
  std::vector<Sum> sums(levels);
  for (size_t i = 0; i < cells.size(); ++i) {
    const double position = positions[i] * static_cast<double>(levels);
    Sum& sum =
        sums[static_cast<size_t>(std::clamp(position, 0.0, static_cast<double>(levels - 1)))];
    sum.weight += cells[i].weight;
    sum.weighted += cells[i].weight * cells[i].mean;
  }
  std::vector<double> means;
  for (const Sum& sum : sums) {
    if (sum.weight > 0) means.push_back(sum.weighted / sum.weight);
  }
  return NearestLevels(means);
}

}  // namespace

RangeEstimator histogram_equalization() {
  return {.name = "histogram_equalization",
          .summary = "equal shares of the histogram raised to a power between 0 and 1",
          .estimate = Estimate,
          .fit_codebook = Fit};
}

}  // namespace octet::quant::observers
