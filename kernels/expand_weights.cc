#include "kernels/expand_weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/data_type.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/expand_weights.cc"
// foreach_target.h includes this file again for each target and must come first.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

#ifndef OCTET_KERNELS_EXPAND_WEIGHTS_STEPS
#define OCTET_KERNELS_EXPAND_WEIGHTS_STEPS
namespace octet::kernels {

// What the codes of a segment stand for: steps less the zero point, in units of `scale`; and the
// scale of the 8-bit row that they become part of.
struct CodeSteps {
  const int8_t* steps = nullptr;  // 16
  int zero_point = 0;
  float scale = 0, row_scale = 0;
};

}  // namespace octet::kernels
#endif  // OCTET_KERNELS_EXPAND_WEIGHTS_STEPS

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kEntries = 16;

void MakeTable(const CodeSteps& codes, int8_t* table) {
  const hn::CappedTag<float, kEntries> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  for (size_t i = 0; i < kEntries; i += hn::Lanes(d)) {
    const auto whole =
        hn::Sub(hn::PromoteTo(di, hn::LoadU(d8, codes.steps + i)), hn::Set(di, codes.zero_point));
    const auto value = hn::Mul(hn::Set(d, codes.scale), hn::ConvertTo(d, whole));
    const auto rounded = hn::Round(hn::Div(value, hn::Set(d, codes.row_scale)));
    const auto clamped = hn::Min(hn::Max(rounded, hn::Set(d, -127.0f)), hn::Set(d, 127.0f));
    hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(di, clamped)), d8, table + i);
  }
}

// The first `count` codes of `nibbles` through the table.
void LookUp(const uint8_t* nibbles, size_t count, const int8_t* table, int8_t* to) {
  size_t byte = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<uint8_t, kEntries> d;
  const auto entries = hn::LoadU(d, reinterpret_cast<const uint8_t*>(table));
  const auto low_half = hn::Set(d, uint8_t{15});
  for (; 2 * (byte + kEntries) <= count; byte += kEntries) {
    const auto packed = hn::LoadU(d, nibbles + byte);
    const auto even = hn::TableLookupBytes(entries, hn::And(packed, low_half));
    const auto odd = hn::TableLookupBytes(entries, hn::And(hn::ShiftRight<4>(packed), low_half));
    auto* const out = reinterpret_cast<uint8_t*>(to + 2 * byte);
    hn::StoreU(hn::InterleaveLower(d, even, odd), d, out);
    hn::StoreU(hn::InterleaveUpper(d, even, odd), d, out + kEntries);
  }
#endif
  for (size_t i = 2 * byte; i < count; ++i) to[i] = table[nibbles[i / 2] >> (i % 2 * 4) & 15];
}

void ExpandSegment(const uint8_t* nibbles, size_t count, const CodeSteps& codes, int8_t* to) {
  HWY_ALIGN int8_t table[kEntries];
  MakeTable(codes, table);
  LookUp(nibbles, count, table, to);
}

// Codes as unsigned numbers, 128 too large each, are what SumsOf8 adds.
int32_t SumOfCodes(const int8_t* codes, int64_t count) {
  int32_t sum = 0;
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint8_t> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto offset = hn::Set(d, uint8_t{128});
  auto sums = hn::Zero(d64);
  for (; i + lanes <= count; i += lanes) {
    const auto bytes = hn::LoadU(d, reinterpret_cast<const uint8_t*>(codes + i));
    sums = hn::Add(sums, hn::SumsOf8(hn::Xor(bytes, offset)));
  }
  sum =
      static_cast<int32_t>(static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(d64, sums))) - 128 * i);
#endif
  for (; i < count; ++i) sum += codes[i];
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {
namespace {

HWY_EXPORT(ExpandSegment);
HWY_EXPORT(SumOfCodes);

constexpr int kCodes = 16;

// What the codes of a segment are steps of, and how many.
class Segments {
 public:
  explicit Segments(const PackedNibbles& nibbles)
      : nibbles_(nibbles), unit_(std::ldexp(1.0f, nibbles.exponent)) {}

  float ScaleOf(int64_t row, int64_t group) const {
    if (!nibbles_.grouped) return reinterpret_cast<const float*>(nibbles_.segment_scales)[row];
    const auto* const halves = reinterpret_cast<const uint16_t*>(nibbles_.segment_scales);
    return unit_ * HalfToFloat(halves[row * nibbles_.groups_per_row() + group]);
  }

  // What the 16 codes of a row stand for, but for the zero point.
  const int8_t* StepsOf(int64_t row) const {
    static constexpr int8_t kUnsigned[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static constexpr int8_t kSigned[] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
    if (nibbles_.levels != nullptr) {
      return nibbles_.levels + (nibbles_.levels_by_row ? row * kCodes : 0);
    }
    return nibbles_.is_signed ? kSigned : kUnsigned;
  }

  int ZeroPointOf(int64_t row, int64_t group) const {
    if (nibbles_.levels != nullptr || nibbles_.is_signed) return 0;
    const int64_t index = row * nibbles_.groups_per_row() + group;
    return nibbles_.zero_points[index / 2] >> (index % 2 * 4) & 15;
  }

 private:
  const PackedNibbles& nibbles_;
  const float unit_;
};

}  // namespace

void ExpandRows(const PackedNibbles& nibbles, int8_t* to, int64_t stride) {
  const Segments segments(nibbles);
  const int64_t row_bytes = (nibbles.columns + 1) / 2;
  for (int64_t row = 0; row < nibbles.rows; ++row) {
    for (int64_t group = 0; group < nibbles.groups_per_row(); ++group) {
      const int64_t first = group * nibbles.group;
      const int64_t count = std::min(nibbles.group, nibbles.columns - first);
      const CodeSteps codes{segments.StepsOf(row), segments.ZeroPointOf(row, group),
                            segments.ScaleOf(row, group), nibbles.scales[row]};
      HWY_DYNAMIC_DISPATCH(ExpandSegment)
      (nibbles.codes + row * row_bytes + first / 2, static_cast<size_t>(count), codes,
       to + row * stride + first);
    }
  }
}

int32_t SumOfCodes(const int8_t* codes, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(SumOfCodes)(codes, count);
}

int8_t ExpandedElement(const PackedNibbles& nibbles, int64_t row, int64_t column) {
  const Segments segments(nibbles);
  const int64_t group = column / nibbles.group, at = row * ((nibbles.columns + 1) / 2) + column / 2;
  const int code = nibbles.codes[at] >> (column % 2 * 4) & 15;
  const int steps = segments.StepsOf(row)[code] - segments.ZeroPointOf(row, group);
  const float value = segments.ScaleOf(row, group) * static_cast<float>(steps);
  return static_cast<int8_t>(
      std::clamp(std::nearbyint(value / nibbles.scales[row]), -127.0f, 127.0f));
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
