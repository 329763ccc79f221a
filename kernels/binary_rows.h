// Arithmetic of two operands on rows of floats or integer codes, in the widest vectors of the CPU.

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/data_type.h"

namespace octet::kernels {

enum class BinaryOp : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kMaximum,
  kMinimum,
  kParametricRelu,  // a * b where a is negative, else a
};

// How the elements of an operand are stored. Codes (kInt8, kUint8) mean scale * (code -
// zero_point).
struct BinaryFormat {
  DataType dtype = DataType::kFloat32;
  float scale = 1;
  int32_t zero_point = 0;
};

struct BinaryFormats {
  BinaryFormat a, b, result;
};

// `rows` rows of `count` elements. Steps are in elements: between neighbours of a row, and between
// rows. A step of 0 repeats.
struct BinaryTile {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  std::byte* result = nullptr;
  int64_t rows = 1;
  int64_t count = 0;
  int64_t a_step = 1, b_step = 1, result_step = 1;
  int64_t a_row = 0, b_row = 0, result_row = 0;
};

// With codes in any place: kAdd and kMultiply only, computed in float32, rounded half to even and
// saturated.
void RunBinaryTile(BinaryOp op, const BinaryFormats& formats, const BinaryTile& tile);

}  // namespace octet::kernels
