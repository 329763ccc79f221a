#include "kernels/row_products.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_products.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// kRows x kColumns scalar products at once: every vector that is loaded is used several times.
template <int kRows, int kColumns>
void AddBlock(const RowProducts& p, int64_t row, int64_t column) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* const left = p.left + row * p.depth;
  const float* const right = p.right + column * p.depth;
  V sums[kRows][kColumns];
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) sums[m][n] = hn::Zero(d);
  }
  int64_t k = 0;
  for (; k + lanes <= p.depth; k += lanes) {
    V factors[kRows];
    for (int m = 0; m < kRows; ++m) factors[m] = hn::LoadU(d, left + m * p.depth + k);
    for (int n = 0; n < kColumns; ++n) {
      const V factor = hn::LoadU(d, right + n * p.depth + k);
      for (int m = 0; m < kRows; ++m) sums[m][n] = hn::MulAdd(factors[m], factor, sums[m][n]);
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[m][n]));
      for (int64_t rest = k; rest < p.depth; ++rest) {
        sum += left[m * p.depth + rest] * right[n * p.depth + rest];
      }
      p.sums[(row + m) * p.sums_stride + column + n] += sum;
    }
  }
}

// A few rows of `right` stay in the nearest cache while `left` passes by.
void AddAll(const RowProducts& p) {
  int64_t column = 0;
  for (; column + 4 <= p.columns; column += 4) {
    int64_t row = 0;
    for (; row + 4 <= p.rows; row += 4) {
      // Sixteen sums do not fit into the registers that CPUs before AVX-512 have.
      AddBlock<4, 2>(p, row, column);
      AddBlock<4, 2>(p, row, column + 2);
    }
    for (; row < p.rows; ++row) AddBlock<1, 4>(p, row, column);
  }
  for (; column < p.columns; ++column) {
    for (int64_t row = 0; row < p.rows; ++row) AddBlock<1, 1>(p, row, column);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(AddAll);

void AddRowProducts(const RowProducts& products) { HWY_DYNAMIC_DISPATCH(AddAll)(products); }

}  // namespace octet::kernels
#endif  // HWY_ONCE
