// A regression tree over numbers: every inner node is a threshold, every leaf a level that stands
// for the values between two thresholds (CART in one dimension; Breiman et al., 1984).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/cells.h"

namespace octet::quant {

struct Leaf {
  size_t begin = 0;  // cells from begin to end, exclusive
  size_t end = 0;
  double weight = 0;
  double mean = 0;
  double error = 0;  // sum of weighted squares around the mean
};

enum class TreeGrowth : uint8_t {
  kBestFirst,  // always splits the leaf whose split takes away most squared error
  kBalanced,   // level by level; much worse on values that are not spread evenly
};

// The leaves from left to right: as many as `most_leaves` and the cells (ascending, of distinct
// means) allow. Takes time proportional to cells times depth.
std::vector<Leaf> GrowTree(std::span<const Cell> cells, size_t most_leaves,
                           TreeGrowth growth = TreeGrowth::kBestFirst);

}  // namespace octet::quant
