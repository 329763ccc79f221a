// Quantization of floats: with a quantizer that is given, or of rows at run time, each with the
// range of its own elements.

#pragma once

#include <cstdint>

namespace octet::kernels {

// codes[i] = clamp(round(from[i] / scale) + zero_point), halves to even. NaN gives a code.
void QuantizeElements(const float* from, int64_t size, float scale, int32_t zero_point,
                      uint8_t* codes);
void QuantizeElements(const float* from, int64_t size, float scale, int32_t zero_point,
                      int8_t* codes);

// `count` rows of `depth` floats; row r's codes stand at r * stride. `together` rows at a time, of
// which `count` is a multiple, share the range of their elements.
struct RowLayout {
  int64_t count, depth, stride;
  int64_t together = 1;
};

// Row r of floats becomes u8 codes at codes + r * stride; scales[r] and
// zero_points[r] say what they stand for: x = scale * (code - zero_point), 0 exactly representable.
// The stride - depth bytes behind a row's codes are filled with its zero point.
void QuantizeRowsToUint8(const float* rows, const RowLayout& layout, uint8_t* codes, float* scales,
                         int32_t* zero_points);

// The same with s8 codes in [-127, 127], zero points of 0, and zeros behind the rows.
void QuantizeRowsToInt8(const float* rows, const RowLayout& layout, int8_t* codes, float* scales);

}  // namespace octet::kernels
