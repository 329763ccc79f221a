// The range with the smallest squared error. Starts from what every other estimator says and from
// shrunk copies of the whole range, then alternates: with the codes fixed the best scale is
// sum(h x u) / sum(h u^2), with the scale fixed the nearest code is the best. Neither step can make
// the error larger (Lloyd's argument on a uniform grid), so the result is never worse than any
// other estimator's, nor than the inherited range.
//
// As a codebook this is the quantizer of Lloyd (1957) and Max (1960): thresholds midway between
// levels, levels at the mean of their cell, in turns, from the best codebook of the others.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/status.h"
#include "quant/range_estimator.h"
#include "quant/vector_loops.h"

namespace octet::quant::observers {
namespace {

constexpr absl::string_view kName = "least_squares";
constexpr size_t kKeptShrunk = 3;  // shrunk copies that are worth improving
constexpr int kPolishRounds = 4;
constexpr int kLloydRounds = 60;
constexpr std::array kPolishFactors = {0.97f, 0.985f, 0.993f, 1.007f, 1.015f, 1.03f};

struct Candidate {
  Range range;
  double error = 0;
};

// 12 geometric points from 0.02 to 0.5, then 16 linear ones from 0.55 to 1.
std::vector<float> ShrinkFactors() {
  std::vector<float> factors;
  factors.reserve(28);
  for (int i = 0; i < 12; ++i) {
    factors.push_back(static_cast<float>(0.02 * std::pow(0.5 / 0.02, i / 11.0)));
  }
  for (int i = 0; i < 16; ++i) factors.push_back(static_cast<float>(0.55 + 0.45 * i / 15));
  return factors;
}

class Search {
 public:
  Search(const Distribution& values, const Grid& grid, const EstimatorOptions& options)
      : values_(values), grid_(grid), options_(options), whole_(MinMaxRange(values)) {}

  absl::StatusOr<Range> Best() {
    OCTET_RETURN_IF_ERROR(AddOtherEstimators());
    AddShrunk();
    Candidate best = candidates_.front();
    for (const Candidate& candidate : candidates_) {
      const Candidate improved = Alternate(candidate);
      if (improved.error < best.error) best = improved;
    }
    return Polish(best).range;
  }

 private:
  Candidate Score(Range range) const { return {range, values_.SquaredError(range, grid_)}; }

  bool Known(Range range) const {
    return std::any_of(candidates_.begin(), candidates_.end(),
                       [&](const Candidate& candidate) { return candidate.range == range; });
  }

  absl::Status AddOtherEstimators() {
    candidates_.push_back(Score(whole_));
    if (options_.inherited.has_value()) candidates_.push_back(Score(*options_.inherited));
    for (const RangeEstimator& other : RangeEstimators()) {
      if (other.name == kName) continue;
      OCTET_ASSIGN_OR_RETURN(const RangeEstimate estimate,
                             other.estimate(values_, grid_, options_));
      if (!Known(estimate.range)) candidates_.push_back(Score(estimate.range));
    }
    return absl::OkStatus();
  }

  // Both ends shrink together, unless the grid can place them apart.
  std::vector<Range> ShrunkRanges() const {
    static const std::vector<float> factors = ShrinkFactors();
    std::vector<Range> ranges;
    if (grid_.symmetric || whole_.low == 0 || whole_.high == 0) {
      for (const float factor : factors) {
        ranges.push_back({whole_.low * factor, whole_.high * factor});
      }
      return ranges;
    }
    for (size_t i = 1; i < factors.size(); i += 2) {
      for (size_t j = 1; j < factors.size(); j += 2) {
        ranges.push_back({whole_.low * factors[i], whole_.high * factors[j]});
      }
    }
    return ranges;
  }

  void AddShrunk() {
    std::vector<Candidate> shrunk;
    for (const Range& range : ShrunkRanges()) {
      if (!Known(range)) shrunk.push_back(Score(range));
    }
    const size_t kept = std::min(kKeptShrunk, shrunk.size());
    std::partial_sort(shrunk.begin(), shrunk.begin() + static_cast<std::ptrdiff_t>(kept),
                      shrunk.end(),
                      [](const Candidate& a, const Candidate& b) { return a.error < b.error; });
    candidates_.insert(candidates_.end(), shrunk.begin(),
                       shrunk.begin() + static_cast<std::ptrdiff_t>(kept));
  }

  // The zero point stays: it is a whole number, and the starting points differ in it.
  Candidate Alternate(const Candidate& start) const {
    Candidate best = start;
    Affine affine = AffineFor(start.range, grid_);
    for (int i = 0; i < options_.max_iterations; ++i) {
      const GridSums sums = SumOverGrid(values_.points(), values_.weights(), affine, grid_);
      const double error = sums.error + values_.error_within_points();
      if (i > 0) {
        if (!(error < best.error)) break;
        const bool settled = best.error - error < options_.tolerance * best.error;
        best = {RangeOf(affine, grid_), error};
        if (settled) break;
      }
      if (!(sums.weighted_uu > 0) || !(sums.weighted_xu > 0)) break;
      affine.scale =
          std::max(static_cast<float>(sums.weighted_xu / sums.weighted_uu), kSmallestScale);
    }
    return best;
  }

  Candidate Polish(Candidate best) const {
    for (int round = 0; round < kPolishRounds; ++round) {
      const double before = best.error;
      for (const float factor : kPolishFactors) {
        const auto attempt = [&](float low, float high) {
          const Candidate moved = Score({best.range.low * low, best.range.high * high});
          if (moved.error < best.error) best = moved;
        };
        attempt(factor, factor);
        if (grid_.symmetric) continue;
        if (best.range.low < 0) attempt(factor, 1);
        if (best.range.high > 0) attempt(1, factor);
      }
      if (!(before - best.error > options_.tolerance * before)) break;
    }
    return best;
  }

  const Distribution& values_;
  const Grid& grid_;
  const EstimatorOptions& options_;
  const Range whole_;
  std::vector<Candidate> candidates_;
};

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& grid,
                                       const EstimatorOptions& options) {
  OCTET_ASSIGN_OR_RETURN(const Range range, Search(values, grid, options).Best());
  return RangeEstimate{range};
}

// Every level moves to the mean of what it stands for; one that stands for nothing stays.
Codebook MoveToMeans(std::span<const Cell> cells, const Codebook& codebook) {
  std::vector<double> levels(codebook.levels.begin(), codebook.levels.end());
  size_t i = 0;
  for (size_t code = 0; code < levels.size(); ++code) {
    const bool last = code + 1 == levels.size();
    const double origin = levels[code];
    double weight = 0;
    double sum = 0;
    for (; i < cells.size() && (last || cells[i].mean < codebook.thresholds[code]); ++i) {
      weight += cells[i].weight;
      sum += cells[i].weight * (cells[i].mean - origin);
    }
    if (weight > 0) levels[code] = origin + sum / weight;
  }
  return NearestLevels(levels);
}

absl::StatusOr<Codebook> Fit(std::span<const Cell> cells, size_t levels,
                             const EstimatorOptions& options) {
  Codebook best;
  double least = std::numeric_limits<double>::infinity();
  for (const RangeEstimator& other : RangeEstimators()) {
    if (other.name == kName || other.fit_codebook == nullptr) continue;
    OCTET_ASSIGN_OR_RETURN(Codebook codebook, other.fit_codebook(cells, levels, options));
    const double error = SquaredError(cells, codebook);
    if (error < least) {
      least = error;
      best = std::move(codebook);
    }
  }
  for (int i = 0; i < kLloydRounds; ++i) {
    Codebook moved = MoveToMeans(cells, best);
    const double error = SquaredError(cells, moved);
    if (!(error < least)) break;
    const bool settled = least - error < options.tolerance * least;
    least = error;
    best = std::move(moved);
    if (settled) break;
  }
  return best;
}

}  // namespace

RangeEstimator least_squares() {
  return {.name = kName,
          .summary = "the smallest squared error; never worse than any other estimator",
          .estimate = Estimate,
          .fit_codebook = Fit};
}

}  // namespace octet::quant::observers
