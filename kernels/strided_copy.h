// Copies a box of elements between two strided arrays: what transposition, slicing, concatenation,
// expansion and depth-to-space have in common.

#pragma once

#include <cstddef>

#include "base/tensor.h"

namespace octet::kernels {

// In elements, of a dense row-major tensor.
Shape RowMajorStrides(const Shape& shape);

// Of the dimensions [begin, end).
int64_t Product(const Shape& shape, size_t begin, size_t end);

// `data` is the element whose indices are all zero; strides count elements.
struct StridedTarget {
  std::byte* data = nullptr;
  Shape strides;
};
struct StridedSource {
  const std::byte* data = nullptr;
  Shape strides;  // zero repeats an element, a negative stride walks backwards
};

// to[i] = from[i] for every index i below `dims`. Elements are of 1, 2, 4 or 8 bytes. Target
// elements must be distinct and not overlap the source. Contiguous runs are copied as such, and
// two-dimensional transpositions go tile by tile.
void CopyStrided(size_t element_bytes, const Shape& dims, const StridedTarget& to,
                 const StridedSource& from);

}  // namespace octet::kernels
