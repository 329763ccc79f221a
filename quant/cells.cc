#include "quant/cells.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace octet::quant {
namespace {

// Equal bins from low to high. Sums are relative to a bin's center, so that no digits are lost.
class Bins {
 public:
  Bins(double low, double high, size_t count)
      : low_(low),
        width_((high - low) / static_cast<double>(count)),
        inverse_width_(width_ > 0 ? 1 / width_ : 0),
        bins_(count) {}

  void Add(double value, double weight) {
    const size_t index = IndexOf(value);
    const double offset = value - Center(index);
    Bin& bin = bins_[index];
    bin.weight += weight;
    bin.sum += weight * offset;
    bin.sum_squares += weight * offset * offset;
  }

  std::vector<Cell> Cells() const {
    std::vector<Cell> cells;
    cells.reserve(bins_.size());
    for (size_t i = 0; i < bins_.size(); ++i) {
      const Bin& bin = bins_[i];
      if (bin.weight <= 0) continue;
      const double offset = bin.sum / bin.weight;
      cells.push_back({.weight = bin.weight,
                       .mean = Center(i) + offset,
                       .error = std::max(0.0, bin.sum_squares - bin.sum * offset)});
    }
    return cells;
  }

 private:
  struct Bin {
    double weight = 0;
    double sum = 0;
    double sum_squares = 0;
  };

  size_t IndexOf(double value) const {
    const auto last = static_cast<double>(bins_.size() - 1);
    return static_cast<size_t>(std::clamp((value - low_) * inverse_width_, 0.0, last));
  }
  double Center(size_t index) const { return low_ + (static_cast<double>(index) + 0.5) * width_; }

  const double low_;
  const double width_;
  const double inverse_width_;
  std::vector<Bin> bins_;
};

double WeightAt(std::span<const float> weights, size_t index) {
  return weights.empty() ? 1 : weights[index];
}

}  // namespace

std::vector<Cell> BinnedCells(const Distribution& values, bool magnitudes, size_t bins) {
  const double low = magnitudes ? 0 : values.min();
  const double high = magnitudes ? values.LargestMagnitude() : values.max();
  Bins result(low, high, bins);
  const std::span<const float> points = values.points();
  for (size_t i = 0; i < points.size(); ++i) {
    result.Add(magnitudes ? std::abs(points[i]) : points[i], WeightAt(values.weights(), i));
  }
  return result.Cells();
}

std::vector<Cell> DistinctCells(std::span<const float> values, std::span<const float> weights) {
  if (values.empty()) return {};
  if (values.size() > Distribution::kMostExactValues) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    Bins bins(*low, *high, Distribution::kFineBins);
    for (size_t i = 0; i < values.size(); ++i) bins.Add(values[i], WeightAt(weights, i));
    return bins.Cells();
  }
  std::vector<std::pair<float, float>> pairs(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    // Adding 0 makes -0 the same value as 0.
    pairs[i] = {values[i] + 0.0f, weights.empty() ? 1.0f : weights[i]};
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<Cell> cells;
  for (const auto& [value, weight] : pairs) {
    if (weight == 0) continue;
    if (cells.empty() || cells.back().mean != value) cells.push_back({.mean = value});
    cells.back().weight += weight;
  }
  return cells;
}

}  // namespace octet::quant
