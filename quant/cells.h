// Values grouped into cells, the form in which codebooks and trees see them.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quant/distribution.h"

namespace octet::quant {

// Values that are treated as one. Sums over cells are sums over values: the squared error of
// replacing a cell's values by v is weight * (mean - v)^2 + error.
struct Cell {
  double weight = 0;  // how many values, or the sum of their weights; positive
  double mean = 0;
  double error = 0;  // sum of weighted squares around the mean
};

// At most `bins` cells of equal width over the range of the values, or of their magnitudes (from 0
// to the largest); empty ones are left out. Ascending by mean.
std::vector<Cell> BinnedCells(const Distribution& values, bool magnitudes, size_t bins);

// One cell for each distinct value, ascending. `weights` is empty or as long as `values`; what
// weighs nothing is left out. Beyond Distribution::kMostExactValues values, cells are
// Distribution::kFineBins equal bins instead. All numbers are finite, no weight is negative.
std::vector<Cell> DistinctCells(std::span<const float> values, std::span<const float> weights);

}  // namespace octet::quant
