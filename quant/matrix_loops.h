// The inner loops of linear algebra on calibration data, compiled for every instruction set and
// chosen at run time. Thread-safe. Sums are added in an order that depends on the vector length, so
// their last digits differ between CPUs.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace octet::quant {

// Matrices are padded to whole tiles of as many rows.
inline constexpr size_t kTileRows = 4;

// gram[i * gram_stride + j] += sum over k of series[i][k] * series[j][k], for j <= i. Of `count`
// (a multiple of kTileRows) series, each `depth` long, that begin `stride` after one another.
void AccumulateGram(const float* series, size_t count, size_t stride, size_t depth, double* gram,
                    size_t gram_stride);

// The lower triangle of a symmetric matrix becomes its Cholesky factor L, matrix = L L^T; what is
// above the diagonal is neither read nor written. `size` is a multiple of kTileRows. False, with
// the matrix spoilt, if it is not positive definite.
bool FactorizeCholesky(double* matrix, size_t size);

// y += factor * x, for y.size() elements.
void AddScaled(float factor, const float* x, std::span<float> y);

}  // namespace octet::quant
