// Operands of integer products as ONNX has them: codes of eight bits with zero points, one for the
// tensor or one for each row, column or channel.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/infer.h"

namespace octet::kernels {

// InvalidArgument unless the input has INT8 or UINT8 elements.
absl::Status ExpectCodes(const InferContext& context, int input);

// InvalidArgument unless the input is absent, or has one element or `count`.
absl::Status ExpectCount(const InferContext& context, int input, int64_t count);

// The elements as int32, repeated to `count` if there is one only; zeros if the input is absent.
std::vector<int32_t> ZeroPoints(std::span<const ConstTensorView> inputs, size_t input,
                                int64_t count);
std::vector<float> Scales(const ConstTensorView& scales, int64_t count);

// The codes with their zero point taken off: what is multiplied. For element i the zero point is
// zero_points[i / run % zero_points.size()].
std::vector<int16_t> Centered(const ConstTensorView& codes, const std::vector<int32_t>& zero_points,
                              int64_t run);

// An exact sum as a code of type T.
template <typename T>
T Requantized(int32_t sum, float factor, int32_t zero_point) {
  const float code =
      std::nearbyint(static_cast<float>(sum) * factor) + static_cast<float>(zero_point);
  constexpr float kLowest = std::numeric_limits<T>::min(), kHighest = std::numeric_limits<T>::max();
  return static_cast<T>(code > kHighest ? kHighest : code >= kLowest ? code : kLowest);
}

}  // namespace octet::kernels
