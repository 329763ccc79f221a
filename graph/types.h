// What is known of a value of the graph: element type, shape, quantization.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace octet::graph {

// How integer codes stand for real numbers: x = scale * (code - zero_point). Codes are kInt8 or
// kUint8. With an axis there is one scale (and zero point) per index of that dimension, else one
// for the whole tensor.
struct QuantParams {
  std::vector<float> scales;
  std::vector<int32_t> zero_points;  // as many as scales
  std::optional<int> axis;

  bool operator==(const QuantParams&) const = default;
};

// A value with `quant` is stored as integer codes and means the real numbers they stand for: every
// operator is defined on the real numbers.
struct TensorType {
  DataType dtype = DataType::kFloat32;
  Shape shape;
  std::optional<QuantParams> quant;

  bool operator==(const TensorType&) const = default;
};

// "FP32[1,3,?,?]", "UINT8[1,8]{0.02,128}".
std::string ToText(const TensorType& type);

}  // namespace octet::graph
