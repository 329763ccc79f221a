#include "kernels/row_quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_quantizer.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

struct Range {
  float low, high;  // low <= 0 <= high
};

Range RangeOf(const float* HWY_RESTRICT x, size_t size) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto low0 = hn::Zero(d), low1 = low0, high0 = low0, high1 = low0;
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    low0 = hn::Min(low0, a);
    high0 = hn::Max(high0, a);
    low1 = hn::Min(low1, b);
    high1 = hn::Max(high1, b);
  }
  Range range{hn::GetLane(hn::MinOfLanes(d, hn::Min(low0, low1))),
              hn::GetLane(hn::MaxOfLanes(d, hn::Max(high0, high1)))};
  for (; i < size; ++i) {
    range.low = std::min(range.low, x[i]);
    range.high = std::max(range.high, x[i]);
  }
  return range;
}

// codes = clamp(round(x / scale) + zero_point), rounding to nearest even. T is the code's type.
template <typename T>
void Encode(const float* HWY_RESTRICT x, size_t size, float inverse_scale, int32_t zero_point,
            int32_t lowest, T* HWY_RESTRICT codes) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<T, decltype(d)> dc;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, inverse_scale);
  const auto offset = hn::Set(di, zero_point);
  const auto bound = hn::Set(di, lowest);
  const auto encode = [&](auto floats) {
    const auto rounded = hn::Add(hn::NearestInt(hn::Mul(floats, factor)), offset);
    return hn::DemoteTo(dc, hn::Max(rounded, bound));  // saturates at the upper end
  };
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(encode(hn::LoadU(d, x + i)), dc, codes + i);
  if (i == size) return;
  HWY_ALIGN float rest[hn::MaxLanes(d)] = {};
  HWY_ALIGN T coded[hn::MaxLanes(d)];
  std::copy(x + i, x + size, rest);
  hn::Store(encode(hn::Load(d, rest)), dc, coded);
  std::copy(coded, coded + (size - i), codes + i);
}

// With a quantizer that does not come from these elements, which may lie far outside its range.
template <typename T>
void EncodeAny(const float* HWY_RESTRICT x, int64_t size, float scale, int32_t zero_point,
               T* HWY_RESTRICT codes) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<T, decltype(d)> dc;
  const size_t lanes = hn::Lanes(d), count = static_cast<size_t>(size);
  const auto divisor = hn::Set(d, scale);
  const auto offset = hn::Set(di, zero_point);
  constexpr float kFar = 1024;  // no code is that far from zero
  const auto encode = [&](auto floats) {
    const auto steps =
        hn::Min(hn::Max(hn::Div(floats, divisor), hn::Set(d, -kFar)), hn::Set(d, kFar));
    const auto rounded = hn::Add(hn::NearestInt(steps), offset);
    return hn::DemoteTo(dc, hn::Max(rounded, hn::Set(di, std::numeric_limits<T>::min())));
  };
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(encode(hn::LoadU(d, x + i)), dc, codes + i);
  if (i == count) return;
  HWY_ALIGN float rest[hn::MaxLanes(d)] = {};
  HWY_ALIGN T coded[hn::MaxLanes(d)];
  std::copy(x + i, x + count, rest);
  hn::Store(encode(hn::Load(d, rest)), dc, coded);
  std::copy(coded, coded + (count - i), codes + i);
}

void Uint8Elements(const float* x, int64_t size, float scale, int32_t zero_point, uint8_t* codes) {
  EncodeAny(x, size, scale, zero_point, codes);
}

void Int8Elements(const float* x, int64_t size, float scale, int32_t zero_point, int8_t* codes) {
  EncodeAny(x, size, scale, zero_point, codes);
}

constexpr float kSmallestScale = 0x1p-100f;

void Uint8Rows(const float* rows, const RowLayout& layout, uint8_t* codes, float* scales,
               int32_t* zero_points) {
  const auto depth = static_cast<size_t>(layout.depth);
  for (int64_t r = 0; r < layout.count; ++r, rows += layout.depth, codes += layout.stride) {
    if (r % layout.together == 0) {
      const Range range = RangeOf(rows, static_cast<size_t>(layout.together) * depth);
      const float width = range.high - range.low;
      const float scale = width > 0 ? std::max(width / 255, kSmallestScale) : 1.0f;
      const float zero = std::clamp(std::nearbyint(-range.low / scale), 0.0f, 255.0f);
      // A range that is not finite has no meaningful codes, but it must have defined ones.
      zero_points[r] = std::isfinite(zero) ? static_cast<int32_t>(zero) : 0;
      scales[r] = scale;
    } else {
      zero_points[r] = zero_points[r - 1];
      scales[r] = scales[r - 1];
    }
    Encode(rows, depth, 1 / scales[r], zero_points[r], 0, codes);
    std::memset(codes + depth, zero_points[r], static_cast<size_t>(layout.stride - layout.depth));
  }
}

void Int8Rows(const float* rows, const RowLayout& layout, int8_t* codes, float* scales) {
  const auto depth = static_cast<size_t>(layout.depth);
  for (int64_t r = 0; r < layout.count; ++r, rows += layout.depth, codes += layout.stride) {
    if (r % layout.together == 0) {
      const Range range = RangeOf(rows, static_cast<size_t>(layout.together) * depth);
      const float largest = std::max(range.high, -range.low);
      scales[r] = largest > 0 ? std::max(largest / 127, kSmallestScale) : 1.0f;
    } else {
      scales[r] = scales[r - 1];
    }
    Encode(rows, depth, 1 / scales[r], 0, -127, codes);
    std::memset(codes + depth, 0, static_cast<size_t>(layout.stride - layout.depth));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(Uint8Elements);
HWY_EXPORT(Int8Elements);
HWY_EXPORT(Uint8Rows);
HWY_EXPORT(Int8Rows);

void QuantizeElements(const float* from, int64_t size, float scale, int32_t zero_point,
                      uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(Uint8Elements)(from, size, scale, zero_point, codes);
}

void QuantizeElements(const float* from, int64_t size, float scale, int32_t zero_point,
                      int8_t* codes) {
  HWY_DYNAMIC_DISPATCH(Int8Elements)(from, size, scale, zero_point, codes);
}

void QuantizeRowsToUint8(const float* rows, const RowLayout& layout, uint8_t* codes, float* scales,
                         int32_t* zero_points) {
  HWY_DYNAMIC_DISPATCH(Uint8Rows)(rows, layout, codes, scales, zero_points);
}

void QuantizeRowsToInt8(const float* rows, const RowLayout& layout, int8_t* codes, float* scales) {
  HWY_DYNAMIC_DISPATCH(Int8Rows)(rows, layout, codes, scales);
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
