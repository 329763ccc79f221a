#include "quant/matrix_loops.h"

#include <cmath>

// Highway compiles this file once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/matrix_loops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::quant {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kRows = kTileRows;
constexpr size_t kColumns = 2;

// products[r][c] = <row r of a, row c of b>. Enough accumulators to hide the latency of a
// multiply-add, few enough for 16 registers.
template <typename T>
HWY_INLINE void MultiplyTile(const T* a, size_t a_stride, const T* b, size_t b_stride, size_t depth,
                             double (&products)[kRows][kColumns]) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const T* const a1 = a + a_stride;
  const T* const a2 = a1 + a_stride;
  const T* const a3 = a2 + a_stride;
  const T* const b1 = b + b_stride;
  auto s00 = hn::Zero(d), s01 = hn::Zero(d), s10 = hn::Zero(d), s11 = hn::Zero(d);
  auto s20 = hn::Zero(d), s21 = hn::Zero(d), s30 = hn::Zero(d), s31 = hn::Zero(d);
  size_t k = 0;
  for (; k + lanes <= depth; k += lanes) {
    const auto x0 = hn::LoadU(d, b + k);
    const auto x1 = hn::LoadU(d, b1 + k);
    const auto y0 = hn::LoadU(d, a + k);
    const auto y1 = hn::LoadU(d, a1 + k);
    s00 = hn::MulAdd(y0, x0, s00);
    s01 = hn::MulAdd(y0, x1, s01);
    s10 = hn::MulAdd(y1, x0, s10);
    s11 = hn::MulAdd(y1, x1, s11);
    const auto y2 = hn::LoadU(d, a2 + k);
    const auto y3 = hn::LoadU(d, a3 + k);
    s20 = hn::MulAdd(y2, x0, s20);
    s21 = hn::MulAdd(y2, x1, s21);
    s30 = hn::MulAdd(y3, x0, s30);
    s31 = hn::MulAdd(y3, x1, s31);
  }
  products[0][0] = hn::GetLane(hn::SumOfLanes(d, s00));
  products[0][1] = hn::GetLane(hn::SumOfLanes(d, s01));
  products[1][0] = hn::GetLane(hn::SumOfLanes(d, s10));
  products[1][1] = hn::GetLane(hn::SumOfLanes(d, s11));
  products[2][0] = hn::GetLane(hn::SumOfLanes(d, s20));
  products[2][1] = hn::GetLane(hn::SumOfLanes(d, s21));
  products[3][0] = hn::GetLane(hn::SumOfLanes(d, s30));
  products[3][1] = hn::GetLane(hn::SumOfLanes(d, s31));
  for (; k < depth; ++k) {
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t c = 0; c < kColumns; ++c) {
        products[r][c] += static_cast<double>(a[r * a_stride + k]) * b[c * b_stride + k];
      }
    }
  }
}

void AccumulateGram(const float* series, size_t count, size_t stride, size_t depth, double* gram,
                    size_t gram_stride) {
  double products[kRows][kColumns];
  for (size_t i = 0; i < count; i += kRows) {
    for (size_t j = 0; j < i + kRows; j += kColumns) {
      MultiplyTile(series + i * stride, stride, series + j * stride, stride, depth, products);
      for (size_t r = 0; r < kRows; ++r) {
        for (size_t c = 0; c < kColumns; ++c) {
          if (j + c <= i + r) gram[(i + r) * gram_stride + j + c] += products[r][c];
        }
      }
    }
  }
}

// Takes the products with all columns before `done` from kColumns columns of kRows rows.
HWY_INLINE void SubtractProducts(double* matrix, size_t size, size_t row, size_t column,
                                 size_t done) {
  double products[kRows][kColumns];
  MultiplyTile(matrix + row * size, size, matrix + column * size, size, done, products);
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      if (column + c <= row + r) matrix[(row + r) * size + column + c] -= products[r][c];
    }
  }
}

// A tile on the diagonal, from which what is left of it has been subtracted.
bool FactorizeDiagonalTile(double* matrix, size_t size, size_t first) {
  for (size_t column = first; column < first + kRows; ++column) {
    for (size_t row = column; row < first + kRows; ++row) {
      double value = matrix[row * size + column];
      for (size_t k = first; k < column; ++k) {
        value -= matrix[row * size + k] * matrix[column * size + k];
      }
      if (row == column) {
        if (!(value > 0) || !std::isfinite(value)) return false;
        value = std::sqrt(value);
      } else {
        value /= matrix[column * size + column];
      }
      matrix[row * size + column] = value;
    }
  }
  return true;
}

// Row by row of tiles: everything left of and above a tile is finished before it.
bool FactorizeCholesky(double* matrix, size_t size) {
  for (size_t i = 0; i < size; i += kRows) {
    for (size_t j = 0; j < i; j += kColumns) {
      SubtractProducts(matrix, size, i, j, j);
      const double* const first = matrix + j * size + j;
      const double* const second = first + size;
      for (size_t r = 0; r < kRows; ++r) {
        double* const target = matrix + (i + r) * size + j;
        target[0] /= first[0];
        target[1] = (target[1] - target[0] * second[0]) / second[1];
      }
    }
    for (size_t j = i; j < i + kRows; j += kColumns) SubtractProducts(matrix, size, i, j, i);
    if (!FactorizeDiagonalTile(matrix, size, i)) return false;
  }
  return true;
}

void AddScaled(float factor, const float* x, float* y, size_t size) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(factors, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  for (; i < size; ++i) y[i] += factor * x[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::quant {

HWY_EXPORT(AccumulateGram);
HWY_EXPORT(FactorizeCholesky);
HWY_EXPORT(AddScaled);

void AccumulateGram(const float* series, size_t count, size_t stride, size_t depth, double* gram,
                    size_t gram_stride) {
  HWY_DYNAMIC_DISPATCH(AccumulateGram)(series, count, stride, depth, gram, gram_stride);
}

bool FactorizeCholesky(double* matrix, size_t size) {
  return HWY_DYNAMIC_DISPATCH(FactorizeCholesky)(matrix, size);
}

void AddScaled(float factor, const float* x, std::span<float> y) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(factor, x, y.data(), y.size());
}

}  // namespace octet::quant
#endif  // HWY_ONCE
