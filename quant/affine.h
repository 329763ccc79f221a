// The affine quantizer: real numbers onto a grid of integer codes and back.
//
//   code = clamp(round_half_to_even(x / scale) + zero_point, grid.first, grid.last)
//   x   ~= scale * (code - zero_point)
//
// Zero is always on the grid, so padding with zeroes and ReLU stay exact. Everything here is a pure
// function: thread-safe, and the same on every CPU.

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/types.h"

namespace octet::quant {

// The real numbers from low to high, both finite.
struct Range {
  float low = 0;
  float high = 0;

  bool operator==(const Range&) const = default;
};

// The integer codes of a quantizer. first <= 0 < last and last - first <= 255.
struct Grid {
  DataType type;  // kInt8 or kUint8
  int32_t first;
  int32_t last;
  bool symmetric;  // the zero point is 0 and a range counts by its largest magnitude

  int32_t steps() const { return last - first; }
  bool operator==(const Grid&) const = default;
};

// -128 is no code of a symmetric grid: -x must have one wherever x does.
inline constexpr Grid kSymmetricInt8 = {DataType::kInt8, -127, 127, true};
// For weights on CPUs whose 8-bit multiply-add saturates in 16 bits.
inline constexpr Grid kSymmetricInt7 = {DataType::kInt8, -63, 63, true};
inline constexpr Grid kAsymmetricUint8 = {DataType::kUint8, 0, 255, false};
// Codes of 4 bits, each in a byte of its own here; storage.h puts two into one.
inline constexpr Grid kSymmetricInt4 = {DataType::kInt8, -7, 7, true};
inline constexpr Grid kAsymmetricUint4 = {DataType::kUint8, 0, 15, false};

inline constexpr float kSmallestScale = 0x1p-100f;

struct Affine {
  float scale = 1;
  int32_t zero_point = 0;

  bool operator==(const Affine&) const = default;
};

// The quantizer that spreads `grid` over `range`, widened to contain zero. An all-zero range has
// scale 1; no scale is below kSmallestScale.
Affine AffineFor(Range range, const Grid& grid);

// The real numbers of the first and the last code: AffineFor's inverse up to rounding.
Range RangeOf(Affine affine, const Grid& grid);

graph::QuantParams ToQuantParams(Affine affine);

// Spans are equally long. Infinities take the outermost codes, NaN takes the zero point.
void Quantize(std::span<const float> values, Affine affine, const Grid& grid,
              std::span<int8_t> codes);
void Quantize(std::span<const float> values, Affine affine, const Grid& grid,
              std::span<uint8_t> codes);
void Dequantize(std::span<const int8_t> codes, Affine affine, std::span<float> values);
void Dequantize(std::span<const uint8_t> codes, Affine affine, std::span<float> values);

// A float32 tensor as codes of grid.type. With params.axis every index of that dimension has its
// own scale. InvalidArgument if `params` does not fit the tensor or the grid.
absl::StatusOr<Tensor> QuantizeTensor(const ConstTensorView& values,
                                      const graph::QuantParams& params, const Grid& grid);

// Int8 or uint8 codes as float32. Errors are QuantizeTensor's.
absl::StatusOr<Tensor> DequantizeTensor(const ConstTensorView& codes,
                                        const graph::QuantParams& params);

// A row-major tensor seen from one dimension: outer x channels x inner. Without an axis all is one
// channel.
struct ChannelLayout {
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;

  int64_t channel_size() const { return outer * inner; }
};

// InvalidArgument if the shape has no such dimension.
absl::StatusOr<ChannelLayout> LayoutAlong(const Shape& shape, std::optional<int> axis);

}  // namespace octet::quant
