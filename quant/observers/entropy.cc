// Clips where the clipped and quantized histogram of |x| tells least from the real one: the cut
// with the smallest Kullback-Leibler divergence (Migacz, "8-bit inference with TensorRT", 2017).

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quant/range_estimator.h"

namespace octet::quant::observers {
namespace {

constexpr uint64_t kFewestValues = 1000;  // fewer leave most bins of the histogram empty
constexpr int kBins = 2048;

// Counts are whole numbers and mostly small.
double Log(double count) {
  static const std::vector<double> table = [] {
    std::vector<double> logs(8192);
    for (size_t i = 1; i < logs.size(); ++i) logs[i] = std::log(static_cast<double>(i));
    return logs;
  }();
  return count < 8192 ? table[static_cast<size_t>(count)] : std::log(count);
}

// Prefix sums over the bins, so that a cut costs one step per code and none per bin.
class CutSearch {
 public:
  explicit CutSearch(const std::vector<double>& counts) {
    for (size_t i = 0; i < kBins; ++i) {
      const double count = counts[i];
      mass_[i + 1] = mass_[i] + count;
      mass_log_[i + 1] = mass_log_[i] + (count > 0 ? count * Log(count) : 0);
      occupied_[i + 1] = occupied_[i] + (count > 0 ? 1 : 0);
    }
  }

  // The divergence of the first `cut` bins, with everything beyond put into the last of them, from
  // the same without what is beyond, at a resolution of `codes` levels. Infinite if a level that
  // should have mass gets none.
  double Divergence(size_t cut, size_t codes) const {
    const double total = mass_[kBins];
    const double inside = mass_[cut];
    const double beyond = total - inside;
    const double last = mass_[cut] - mass_[cut - 1];
    double sum = mass_log_[cut - 1];
    if (last + beyond > 0) sum += (last + beyond) * Log(last + beyond);
    size_t begin = 0;
    for (size_t code = 0; code < codes; ++code) {
      const size_t end = (code + 1) * cut / codes;
      const double level = mass_[end] - mass_[begin];
      double occupied = occupied_[end] - occupied_[begin];
      double wanted = level;
      if (end == cut) {
        wanted += beyond;
        if (last == 0 && beyond > 0) occupied += 1;
      }
      if (wanted > 0) {
        if (level == 0) return std::numeric_limits<double>::infinity();
        sum -= wanted * (Log(level) - Log(occupied));
      }
      begin = end;
    }
    return sum / total - std::log(total) + std::log(inside);
  }

  bool empty() const { return mass_[kBins] == 0; }

 private:
  std::vector<double> mass_ = std::vector<double>(kBins + 1);
  std::vector<double> mass_log_ = std::vector<double>(kBins + 1);  // sum of n log n
  std::vector<double> occupied_ = std::vector<double>(kBins + 1);
};

absl::StatusOr<RangeEstimate> Estimate(const Distribution& values, const Grid& grid,
                                       const EstimatorOptions& /*options*/) {
  const Range whole = MinMaxRange(values);
  if (values.count() < kFewestValues) return RangeEstimate{.range = whole, .fell_back = true};
  std::vector<double> counts = values.MagnitudeCounts(kBins);
  counts[0] = 0;  // what is nearly zero survives every cut and would only drown the rest
  const CutSearch search(counts);
  if (search.empty()) return RangeEstimate{whole};
  const bool one_sided = !grid.symmetric && (whole.low == 0 || whole.high == 0);
  const auto codes = static_cast<size_t>(one_sided ? grid.steps() + 1 : (grid.steps() + 2) / 2);
  const size_t step = std::max<size_t>(codes / 8, 1);
  size_t best_cut = kBins;
  double best = search.Divergence(kBins, codes);
  for (size_t cut = codes; cut < kBins; cut += step) {
    const double divergence = search.Divergence(cut, codes);
    if (divergence < best) {
      best = divergence;
      best_cut = cut;
    }
  }
  const float limit =
      values.LargestMagnitude() * (static_cast<float>(best_cut) / static_cast<float>(kBins));
  return RangeEstimate{{std::max(whole.low, -limit), std::min(whole.high, limit)}};
}

}  // namespace

RangeEstimator entropy() {
  return {.name = "entropy",
          .summary = "the cut that loses least information (Kullback-Leibler divergence)",
          .estimate = Estimate};
}

}  // namespace octet::quant::observers
