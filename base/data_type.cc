#include "base/data_type.h"

#include <array>
#include <bit>
#include <cmath>

namespace octet {
namespace {

struct Row {
  DataType type;
  size_t bytes;
  absl::string_view name;
};

constexpr std::array kRows = {
    Row{DataType::kFloat32, 4, "FP32"}, Row{DataType::kFloat64, 8, "FP64"},
    Row{DataType::kFloat16, 2, "FP16"}, Row{DataType::kBFloat16, 2, "BF16"},
    Row{DataType::kInt8, 1, "INT8"},    Row{DataType::kUint8, 1, "UINT8"},
    Row{DataType::kInt16, 2, "INT16"},  Row{DataType::kUint16, 2, "UINT16"},
    Row{DataType::kInt32, 4, "INT32"},  Row{DataType::kUint32, 4, "UINT32"},
    Row{DataType::kInt64, 8, "INT64"},  Row{DataType::kUint64, 8, "UINT64"},
    Row{DataType::kBool, 1, "BOOL"},
};

const Row& RowOf(DataType type) { return kRows[static_cast<size_t>(type)]; }

}  // namespace

size_t ByteSize(DataType type) { return RowOf(type).bytes; }

absl::string_view Name(DataType type) { return RowOf(type).name; }

std::optional<DataType> DataTypeFromName(absl::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

DataType ComputeType(DataType type) {
  switch (type) {
    case DataType::kFloat64:
    case DataType::kFloat16:
    case DataType::kBFloat16:
      return DataType::kFloat32;
    default:
      return type;
  }
}

bool IsInteger(DataType type) { return type >= DataType::kInt8 && type <= DataType::kUint64; }

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;   // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                        // below 2^-14: a multiple of 2^-24
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace octet
