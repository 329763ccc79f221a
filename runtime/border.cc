#include "runtime/border.h"

#include <cstring>

namespace octet::runtime {
namespace {

template <typename From, typename To, typename Convert>
void ConvertAll(std::span<const std::byte> from, std::byte* to, Convert convert) {
  const size_t count = from.size() / sizeof(From);
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof(From));
    const To converted = convert(value);
    std::memcpy(to + i * sizeof(To), &converted, sizeof(To));
  }
}

}  // namespace

void FromBorder(DataType border, std::span<const std::byte> from, std::byte* to) {
  switch (border) {
    case DataType::kFloat64:
      return ConvertAll<double, float>(from, to, [](double x) { return static_cast<float>(x); });
    case DataType::kFloat16:
      return ConvertAll<uint16_t, float>(from, to, HalfToFloat);
    case DataType::kBFloat16:
      return ConvertAll<uint16_t, float>(from, to, BFloat16ToFloat);
    default:
      if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }
}

void ToBorder(DataType border, std::span<const std::byte> from, std::byte* to) {
  switch (border) {
    case DataType::kFloat64:
      return ConvertAll<float, double>(from, to, [](float x) { return static_cast<double>(x); });
    case DataType::kFloat16:
      return ConvertAll<float, uint16_t>(from, to, FloatToHalf);
    case DataType::kBFloat16:
      return ConvertAll<float, uint16_t>(from, to, FloatToBFloat16);
    default:
      if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }
}

}  // namespace octet::runtime
