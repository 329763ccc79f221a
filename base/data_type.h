// The element types of tensors, their sizes and names.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/string_view.h"

namespace octet {

// The engine computes in kFloat32, the integers and kBool. kFloat64, kFloat16 and kBFloat16 exist
// at its border only: the importer converts weights, and the server converts tensors, to kFloat32.
enum class DataType : uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kBool,
};

size_t ByteSize(DataType type);

// The Open Inference Protocol's name: "FP32", "INT64", "BOOL", ...
absl::string_view Name(DataType type);
std::optional<DataType> DataTypeFromName(absl::string_view name);

// What the engine computes in for a tensor that is `type` at the border.
DataType ComputeType(DataType type);

bool IsInteger(DataType type);  // signed or unsigned, not kBool

// The DataType of a C++ element type. float16 and bfloat16 have no C++ type here.
template <typename T>
constexpr DataType DataTypeOf() {
  if constexpr (std::is_same_v<T, float>) return DataType::kFloat32;
  if constexpr (std::is_same_v<T, double>) return DataType::kFloat64;
  if constexpr (std::is_same_v<T, int8_t>) return DataType::kInt8;
  if constexpr (std::is_same_v<T, uint8_t>) return DataType::kUint8;
  if constexpr (std::is_same_v<T, int16_t>) return DataType::kInt16;
  if constexpr (std::is_same_v<T, uint16_t>) return DataType::kUint16;
  if constexpr (std::is_same_v<T, int32_t>) return DataType::kInt32;
  if constexpr (std::is_same_v<T, uint32_t>) return DataType::kUint32;
  if constexpr (std::is_same_v<T, int64_t>) return DataType::kInt64;
  if constexpr (std::is_same_v<T, uint64_t>) return DataType::kUint64;
  if constexpr (std::is_same_v<T, bool>) return DataType::kBool;
}

// Calls function.template operator()<T>() with the C++ type that stores `type` in the engine.
// kFloat16 and kBFloat16 have none and are visited as uint16_t, their bits.
template <typename Function>
decltype(auto) VisitType(DataType type, Function&& function) {
  switch (type) {
    case DataType::kFloat64:
      return function.template operator()<double>();
    case DataType::kInt8:
      return function.template operator()<int8_t>();
    case DataType::kUint8:
      return function.template operator()<uint8_t>();
    case DataType::kInt16:
      return function.template operator()<int16_t>();
    case DataType::kUint16:
    case DataType::kFloat16:
    case DataType::kBFloat16:
      return function.template operator()<uint16_t>();
    case DataType::kInt32:
      return function.template operator()<int32_t>();
    case DataType::kUint32:
      return function.template operator()<uint32_t>();
    case DataType::kInt64:
      return function.template operator()<int64_t>();
    case DataType::kUint64:
      return function.template operator()<uint64_t>();
    case DataType::kBool:
      return function.template operator()<bool>();
    case DataType::kFloat32:
      break;
  }
  return function.template operator()<float>();
}

// IEEE half and bfloat16, by their bits. Conversions round to nearest even.
float HalfToFloat(uint16_t bits);
uint16_t FloatToHalf(float value);
float BFloat16ToFloat(uint16_t bits);
uint16_t FloatToBFloat16(float value);

}  // namespace octet
