// Products of small matrices inside kernels of our own, where a call of oneDNN for each would cost
// more than it computes.

#pragma once

#include <cstdint>

namespace octet::kernels {

struct RowProducts {
  const float* left = nullptr;  // [rows][depth]
  int64_t rows = 0;
  int64_t depth = 0;
  const float* right = nullptr;  // [columns][depth]
  int64_t columns = 0;
  float* sums = nullptr;  // [rows][columns], rows `sums_stride` elements apart
  int64_t sums_stride = 0;
};

// sums[m][n] += the scalar product of left[m] and right[n], in the widest vectors of the CPU.
void AddRowProducts(const RowProducts& products);

}  // namespace octet::kernels
