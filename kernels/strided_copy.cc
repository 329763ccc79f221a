#include "kernels/strided_copy.h"

#include <emmintrin.h>
#include <xmmintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "absl/container/inlined_vector.h"

namespace octet::kernels {
namespace {

// One nested loop; strides in bytes.
struct Loop {
  int64_t count;
  int64_t to;
  int64_t from;
};
using Loops = absl::InlinedVector<Loop, 8>;

template <size_t kBytes>
using Word = std::conditional_t<
    kBytes == 1, uint8_t,
    std::conditional_t<kBytes == 2, uint16_t, std::conditional_t<kBytes == 4, uint32_t, uint64_t>>>;

template <size_t kBytes>
void CopyElement(std::byte* to, const std::byte* from) {
  Word<kBytes> word;
  std::memcpy(&word, from, kBytes);
  std::memcpy(to, &word, kBytes);
}

// Loops that together step like one loop become one; the target is walked in address order.
Loops Simplify(size_t element_bytes, const Shape& dims, const Shape& to, const Shape& from) {
  const auto bytes = static_cast<int64_t>(element_bytes);
  Loops loops;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] != 1) loops.push_back({dims[d], to[d] * bytes, from[d] * bytes});
  }
  std::stable_sort(loops.begin(), loops.end(),
                   [](const Loop& a, const Loop& b) { return a.to > b.to; });
  Loops merged;
  for (const Loop& loop : loops) {
    if (!merged.empty() && merged.back().to == loop.to * loop.count &&
        merged.back().from == loop.from * loop.count) {
      merged.back() = {merged.back().count * loop.count, loop.to, loop.from};
    } else {
      merged.push_back(loop);
    }
  }
  return merged;
}

// Calls body(to, from) for every iteration of the loops.
template <typename Body>
void ForEach(const Loop* loop, const Loop* end, std::byte* to, const std::byte* from,
             const Body& body) {
  if (loop == end) {
    body(to, from);
    return;
  }
  for (int64_t i = 0; i < loop->count; ++i) {
    ForEach(loop + 1, end, to + i * loop->to, from + i * loop->from, body);
  }
}

template <size_t kBytes>
void CopyRow(const Loop& row, std::byte* to, const std::byte* from) {
  if (row.from == 0) {
    Word<kBytes> word;
    std::memcpy(&word, from, kBytes);
    for (int64_t i = 0; i < row.count; ++i) std::memcpy(to + i * row.to, &word, kBytes);
    return;
  }
  for (int64_t i = 0; i < row.count; ++i) CopyElement<kBytes>(to + i * row.to, from + i * row.from);
}

void Transpose4x4Floats(std::byte* to, int64_t to_stride, const std::byte* from,
                        int64_t from_stride) {
  const auto load = [&](int64_t i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(from + i * from_stride));
  };
  __m128 row0 = load(0), row1 = load(1), row2 = load(2), row3 = load(3);
  _MM_TRANSPOSE4_PS(row0, row1, row2, row3);
  const auto store = [&](int64_t i, __m128 row) {
    _mm_storeu_ps(reinterpret_cast<float*>(to + i * to_stride), row);
  };
  store(0, row0);
  store(1, row1);
  store(2, row2);
  store(3, row3);
}

void Transpose8x8Bytes(std::byte* to, int64_t to_stride, const std::byte* from,
                       int64_t from_stride) {
  const auto load = [&](int64_t i) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + i * from_stride));
  };
  const __m128i pairs0 = _mm_unpacklo_epi8(load(0), load(1));
  const __m128i pairs1 = _mm_unpacklo_epi8(load(2), load(3));
  const __m128i pairs2 = _mm_unpacklo_epi8(load(4), load(5));
  const __m128i pairs3 = _mm_unpacklo_epi8(load(6), load(7));
  const __m128i low0 = _mm_unpacklo_epi16(pairs0, pairs1);
  const __m128i high0 = _mm_unpackhi_epi16(pairs0, pairs1);
  const __m128i low1 = _mm_unpacklo_epi16(pairs2, pairs3);
  const __m128i high1 = _mm_unpackhi_epi16(pairs2, pairs3);
  const __m128i columns[4] = {_mm_unpacklo_epi32(low0, low1), _mm_unpackhi_epi32(low0, low1),
                              _mm_unpacklo_epi32(high0, high1), _mm_unpackhi_epi32(high0, high1)};
  for (int64_t i = 0; i < 4; ++i) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 2 * i * to_stride), columns[i]);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + (2 * i + 1) * to_stride),
                     _mm_unpackhi_epi64(columns[i], columns[i]));
  }
}

// The side of a tile that one register transposition does; 1 where there is none.
template <size_t kBytes>
constexpr int64_t kRegisterTile = kBytes == 4   ? 4
                                  : kBytes == 1 ? 8
                                                : 1;

// `row` is contiguous in the target, `column` in the source.
template <size_t kBytes>
void TransposeBlock(Loop column, Loop row, std::byte* to, const std::byte* from) {
  constexpr int64_t kTile = kRegisterTile<kBytes>;
  const int64_t tiled_columns = kTile == 1 ? 0 : column.count / kTile * kTile;
  const int64_t tiled_rows = kTile == 1 ? 0 : row.count / kTile * kTile;
  for (int64_t r = 0; r < tiled_rows; r += kTile) {
    for (int64_t c = 0; c < tiled_columns; c += kTile) {
      std::byte* const target = to + c * column.to + r * row.to;
      const std::byte* const source = from + c * column.from + r * row.from;
      if constexpr (kBytes == 4) Transpose4x4Floats(target, column.to, source, row.from);
      if constexpr (kBytes == 1) Transpose8x8Bytes(target, column.to, source, row.from);
    }
  }
  for (int64_t c = 0; c < column.count; ++c) {
    for (int64_t r = c < tiled_columns ? tiled_rows : 0; r < row.count; ++r) {
      CopyElement<kBytes>(to + c * column.to + r * row.to, from + c * column.from + r * row.from);
    }
  }
}

constexpr int64_t kBlock = 64;

// Through a dense block: for strides at which the rows of a block compete for the same cache sets.
template <size_t kBytes>
void TransposeBuffered(Loop column, Loop row, std::byte* to, const std::byte* from) {
  alignas(64) std::byte buffer[kBlock * kBlock * kBytes];
  Loop dense = column;
  dense.to = kBlock * static_cast<int64_t>(kBytes);
  TransposeBlock<kBytes>(dense, row, buffer, from);
  for (int64_t c = 0; c < column.count; ++c) {
    std::memcpy(to + c * column.to, buffer + c * dense.to, static_cast<size_t>(row.count) * kBytes);
  }
}

// In blocks whose rows stay in the first-level cache on both sides.
template <size_t kBytes>
void Transpose(Loop column, Loop row, std::byte* to, const std::byte* from) {
  constexpr int64_t kConflict = 1024;  // bytes; many such rows share few sets
  const bool conflicting = std::min(column.count, row.count) >= 16 &&
                           (column.to % kConflict == 0 || row.from % kConflict == 0);
  for (int64_t c = 0; c < column.count; c += kBlock) {
    for (int64_t r = 0; r < row.count; r += kBlock) {
      Loop columns = column, rows = row;
      columns.count = std::min(kBlock, column.count - c);
      rows.count = std::min(kBlock, row.count - r);
      std::byte* const target = to + c * column.to + r * row.to;
      const std::byte* const source = from + c * column.from + r * row.from;
      if (conflicting) {
        TransposeBuffered<kBytes>(columns, rows, target, source);
      } else {
        TransposeBlock<kBytes>(columns, rows, target, source);
      }
    }
  }
}

template <size_t kBytes>
void Run(Loops& loops, std::byte* to, const std::byte* from) {
  constexpr auto kSize = static_cast<int64_t>(kBytes);
  if (loops.empty()) {
    CopyElement<kBytes>(to, from);
    return;
  }
  const Loop row = loops.back();
  loops.pop_back();
  if (row.to == kSize && row.from == kSize) {
    const auto bytes = static_cast<size_t>(row.count * kSize);
    ForEach(loops.begin(), loops.end(), to, from,
            [bytes](std::byte* target, const std::byte* source) {
              std::memcpy(target, source, bytes);
            });
    return;
  }
  const auto contiguous =
      std::find_if(loops.begin(), loops.end(), [](const Loop& loop) { return loop.from == kSize; });
  if (row.to == kSize && contiguous != loops.end()) {
    const Loop column = *contiguous;
    loops.erase(contiguous);
    ForEach(loops.begin(), loops.end(), to, from, [&](std::byte* target, const std::byte* source) {
      Transpose<kBytes>(column, row, target, source);
    });
    return;
  }
  ForEach(loops.begin(), loops.end(), to, from, [&](std::byte* target, const std::byte* source) {
    CopyRow<kBytes>(row, target, source);
  });
}

}  // namespace

Shape RowMajorStrides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = shape.size(); d > 1; --d) strides[d - 2] = strides[d - 1] * shape[d - 1];
  return strides;
}

int64_t Product(const Shape& shape, size_t begin, size_t end) {
  int64_t product = 1;
  for (size_t d = begin; d < end; ++d) product *= shape[d];
  return product;
}

void CopyStrided(size_t element_bytes, const Shape& dims, const StridedTarget& to,
                 const StridedSource& from) {
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
  Loops loops = Simplify(element_bytes, dims, to.strides, from.strides);
  switch (element_bytes) {
    case 1:
      return Run<1>(loops, to.data, from.data);
    case 2:
      return Run<2>(loops, to.data, from.data);
    case 4:
      return Run<4>(loops, to.data, from.data);
    default:
      return Run<8>(loops, to.data, from.data);
  }
}

}  // namespace octet::kernels
