#include "kernels/binary_rows.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/binary_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Codes are handled as u8: flipping the top bit makes an s8 code the u8 code 128 above it, and the
// zero point moves with it.
inline uint8_t SignFlip(DataType dtype) { return dtype == DataType::kInt8 ? 0x80 : 0; }
inline float ShiftedZeroPoint(const BinaryFormat& format) {
  return static_cast<float>(format.zero_point + SignFlip(format.dtype));
}

// Floats as they are.
struct Floats {
  using Element = float;
  explicit Floats(const BinaryFormat&) {}

  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, const float* from) const {
    return hn::LoadU(d, from);
  }
  template <class D>
  HWY_INLINE void Store(D d, hn::Vec<D> value, float* to) const {
    hn::StoreU(value, d, to);
  }
};

// Codes to and from the real numbers they mean.
struct Codes {
  using Element = uint8_t;
  explicit Codes(const BinaryFormat& format)
      : flip(SignFlip(format.dtype)),
        scale(format.scale),
        inverse(1 / format.scale),
        zero_point(ShiftedZeroPoint(format)) {}

  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, const uint8_t* from) const {
    const hn::Rebind<uint8_t, D> bytes;
    const hn::Rebind<int32_t, D> integers;
    const auto codes = hn::Xor(hn::LoadU(bytes, from), hn::Set(bytes, flip));
    const auto value = hn::ConvertTo(d, hn::PromoteTo(integers, codes));
    return hn::Mul(hn::Sub(value, hn::Set(d, zero_point)), hn::Set(d, scale));
  }
  template <class D>
  HWY_INLINE void Store(D d, hn::Vec<D> value, uint8_t* to) const {
    const hn::Rebind<uint8_t, D> bytes;
    const auto scaled = hn::Round(hn::Mul(value, hn::Set(d, inverse)));
    const auto code =
        hn::Clamp(hn::Add(scaled, hn::Set(d, zero_point)), hn::Zero(d), hn::Set(d, 255.0f));
    const auto narrow = hn::DemoteTo(bytes, hn::NearestInt(code));
    hn::StoreU(hn::Xor(narrow, hn::Set(bytes, flip)), bytes, to);
  }

  uint8_t flip;
  float scale, inverse, zero_point;
};

template <BinaryOp kOp, class V>
HWY_INLINE V Apply(V a, V b) {
  if constexpr (kOp == BinaryOp::kAdd) return hn::Add(a, b);
  if constexpr (kOp == BinaryOp::kSubtract) return hn::Sub(a, b);
  if constexpr (kOp == BinaryOp::kMultiply) return hn::Mul(a, b);
  if constexpr (kOp == BinaryOp::kDivide) return hn::Div(a, b);
  if constexpr (kOp == BinaryOp::kParametricRelu) {
    return hn::IfThenElse(hn::Lt(a, hn::Xor(a, a)), hn::Mul(a, b), a);
  }
  // The operand that is NaN wins, as in numpy.
  if constexpr (kOp == BinaryOp::kMaximum) {
    return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
  }
  if constexpr (kOp == BinaryOp::kMinimum) {
    return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
  }
}

template <class A, class B, class R>
struct Formats {
  A a;
  B b;
  R result;
};

// One row. An operand that repeats is read from a vector full of it, so that there is one loop.
template <BinaryOp kOp, class A, class B, class R>
void Row(const Formats<A, B, R>& formats, const typename A::Element* a,
         const typename B::Element* b, typename R::Element* result, const BinaryTile& tile) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto count = static_cast<size_t>(tile.count);
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  if (tile.a_step <= 1 && tile.b_step <= 1 && tile.result_step == 1 && count >= lanes) {
    typename A::Element a_repeated[HWY_MAX_BYTES / sizeof(float)];
    typename B::Element b_repeated[HWY_MAX_BYTES / sizeof(float)];
    if (tile.a_step == 0) std::fill_n(a_repeated, lanes, *a);
    if (tile.b_step == 0) std::fill_n(b_repeated, lanes, *b);
    for (; i + lanes <= count; i += lanes) {
      const auto left = formats.a.Load(d, tile.a_step == 0 ? a_repeated : a + i);
      const auto right = formats.b.Load(d, tile.b_step == 0 ? b_repeated : b + i);
      formats.result.Store(d, Apply<kOp>(left, right), result + i);
    }
  }
  for (; i < count; ++i) {
    const auto index = static_cast<int64_t>(i);
    const auto left = formats.a.Load(one, a + index * tile.a_step);
    const auto right = formats.b.Load(one, b + index * tile.b_step);
    formats.result.Store(one, Apply<kOp>(left, right), result + index * tile.result_step);
  }
}

template <BinaryOp kOp, class A, class B, class R>
void Tile(const BinaryFormats& binary, const BinaryTile& tile) {
  const Formats<A, B, R> formats{A(binary.a), B(binary.b), R(binary.result)};
  auto* from_a = reinterpret_cast<const typename A::Element*>(tile.a);
  auto* from_b = reinterpret_cast<const typename B::Element*>(tile.b);
  auto* to = reinterpret_cast<typename R::Element*>(tile.result);
  for (int64_t r = 0; r < tile.rows; ++r) {
    Row<kOp>(formats, from_a, from_b, to, tile);
    from_a += tile.a_row;
    from_b += tile.b_row;
    to += tile.result_row;
  }
}

template <BinaryOp kOp>
void CodedTile(const BinaryFormats& formats, const BinaryTile& tile) {
  const bool a = formats.a.dtype != DataType::kFloat32;
  const bool b = formats.b.dtype != DataType::kFloat32;
  const bool result = formats.result.dtype != DataType::kFloat32;
  switch (a * 4 + b * 2 + result) {
    case 0:
      return Tile<kOp, Floats, Floats, Floats>(formats, tile);
    case 1:
      return Tile<kOp, Floats, Floats, Codes>(formats, tile);
    case 2:
      return Tile<kOp, Floats, Codes, Floats>(formats, tile);
    case 3:
      return Tile<kOp, Floats, Codes, Codes>(formats, tile);
    case 4:
      return Tile<kOp, Codes, Floats, Floats>(formats, tile);
    case 5:
      return Tile<kOp, Codes, Floats, Codes>(formats, tile);
    case 6:
      return Tile<kOp, Codes, Codes, Floats>(formats, tile);
    default:
      return Tile<kOp, Codes, Codes, Codes>(formats, tile);
  }
}

void RunTile(BinaryOp op, const BinaryFormats& formats, const BinaryTile& tile) {
  switch (op) {
    case BinaryOp::kAdd:
      return CodedTile<BinaryOp::kAdd>(formats, tile);
    case BinaryOp::kMultiply:
      return CodedTile<BinaryOp::kMultiply>(formats, tile);
    case BinaryOp::kSubtract:
      return Tile<BinaryOp::kSubtract, Floats, Floats, Floats>(formats, tile);
    case BinaryOp::kDivide:
      return Tile<BinaryOp::kDivide, Floats, Floats, Floats>(formats, tile);
    case BinaryOp::kMaximum:
      return Tile<BinaryOp::kMaximum, Floats, Floats, Floats>(formats, tile);
    case BinaryOp::kParametricRelu:
      return Tile<BinaryOp::kParametricRelu, Floats, Floats, Floats>(formats, tile);
    case BinaryOp::kMinimum:
      return Tile<BinaryOp::kMinimum, Floats, Floats, Floats>(formats, tile);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(RunTile);

void RunBinaryTile(BinaryOp op, const BinaryFormats& formats, const BinaryTile& tile) {
  HWY_DYNAMIC_DISPATCH(RunTile)(op, formats, tile);
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
