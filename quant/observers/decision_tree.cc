// A regression tree over the values: each inner node is a threshold, each leaf a level.
//
// As a codebook the leaves are the levels. As a range the tree is pruned to a uniform grid: of all
// pairs of leaves, those two become its ends that cost least, where the leaves outside cost what
// clipping them to the ends does and the values inside a uniform grid's noise, step^2 / 12. That is
// cost-complexity pruning with this cost.

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "quant/range_estimator.h"
#include "quant/value_tree.h"

namespace octet::quant::observers {
namespace {

// For ranges, whose ends need no finer choice than that; it is most of what the algorithm costs.
constexpr size_t kCells = 512;
constexpr size_t kMostLeaves = 128;

// Prefix sums over leaves, left to right.
class LeafSums {
 public:
  explicit LeafSums(const std::vector<Leaf>& leaves) : sums_(leaves.size() + 1) {
    // Distances are from the leaf in the middle: the sums then keep their digits.
    origin_ = leaves[leaves.size() / 2].mean;
    for (size_t i = 0; i < leaves.size(); ++i) {
      const double distance = leaves[i].mean - origin_;
      sums_[i + 1] = {sums_[i].weight + leaves[i].weight,
                      sums_[i].sum + leaves[i].weight * distance,
                      sums_[i].squares + leaves[i].weight * distance * distance + leaves[i].error};
    }
  }

  double Weight(size_t begin, size_t end) const { return sums_[end].weight - sums_[begin].weight; }

  // The squared error of giving the leaves from begin to end this level.
  double ErrorAt(double level, size_t begin, size_t end) const {
    const double distance = level - origin_;
    const double error = sums_[end].squares - sums_[begin].squares -
                         2 * distance * (sums_[end].sum - sums_[begin].sum) +
                         distance * distance * Weight(begin, end);
    return std::max(error, 0.0);
  }

 private:
  struct Sums {
    double weight = 0;
    double sum = 0;
    double squares = 0;
  };
  std::vector<Sums> sums_;
  double origin_ = 0;
};

// One end of the grid: a leaf's level, or zero where no leaf lies on that side of it.
struct End {
  double level = 0;
  size_t leaf = 0;
  double clipped = 0;
};

struct Ends {
  End low;
  End high;
};

std::vector<End> LowEnds(const std::vector<Leaf>& leaves, const LeafSums& sums) {
  std::vector<End> ends;
  for (size_t i = 0; i < leaves.size() && leaves[i].mean <= 0; ++i) {
    ends.push_back({leaves[i].mean, i, sums.ErrorAt(leaves[i].mean, 0, i)});
  }
  if (ends.empty()) ends.push_back({});
  return ends;
}

std::vector<End> HighEnds(const std::vector<Leaf>& leaves, const LeafSums& sums) {
  std::vector<End> ends;
  for (size_t i = leaves.size(); i > 0 && leaves[i - 1].mean > 0; --i) {
    const double mean = leaves[i - 1].mean;
    ends.push_back({mean, i - 1, sums.ErrorAt(mean, i, leaves.size())});
  }
  if (ends.empty()) ends.push_back({.leaf = leaves.size() - 1});
  return ends;
}

Ends PruneToGrid(const std::vector<Leaf>& leaves, int32_t steps) {
  const LeafSums sums(leaves);
  Ends best;
  double least = std::numeric_limits<double>::infinity();
  const std::vector<End> highs = HighEnds(leaves, sums);
  for (const End& low : LowEnds(leaves, sums)) {
    for (const End& high : highs) {
      const double step = (high.level - low.level) / steps;
      const double noise = sums.Weight(low.leaf, high.leaf + 1) * step * step / 12;
      const double cost = low.clipped + high.clipped + noise;
      if (cost >= least) continue;
      least = cost;
      best = {low, high};
    }
  }
  return best;
}

TreeGrowth GrowthOf(const EstimatorOptions& options) {
  return options.balanced_tree ? TreeGrowth::kBalanced : TreeGrowth::kBestFirst;
}

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& grid,
                                       const EstimatorOptions& options) {
  // A symmetric grid has one half of its codes for magnitudes.
  const int32_t steps = grid.symmetric ? grid.last : grid.steps();
  const size_t most_leaves =
      std::min(kMostLeaves, std::bit_ceil(static_cast<size_t>(grid.steps()) + 1));
  const std::vector<Cell> cells = BinnedCells(values, grid.symmetric, kCells);
  const Ends ends = PruneToGrid(GrowTree(cells, most_leaves, GrowthOf(options)), steps);
  const auto low = static_cast<float>(ends.low.level);
  const auto high = static_cast<float>(ends.high.level);
  if (grid.symmetric) return RangeEstimate{{-high, high}};
  return RangeEstimate{{std::min(low, 0.0f), std::max(high, 0.0f)}};
}

absl::StatusOr<Codebook> Fit(std::span<const Cell> cells, size_t levels,
                             const EstimatorOptions& options) {
  std::vector<double> means;
  for (const Leaf& leaf : GrowTree(cells, levels, GrowthOf(options))) means.push_back(leaf.mean);
  return NearestLevels(means);
}

}  // namespace

RangeEstimator decision_tree() {
  return {.name = "decision_tree",
          .summary = "a regression tree over the values, pruned to a uniform grid",
          .estimate = Estimate,
          .fit_codebook = Fit};
}

}  // namespace octet::quant::observers
