#include "kernels/vector_math.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_math.cc"
// foreach_target.h includes this file again for each target and must come first.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Below one an odd polynomial (Chebyshev interpolation of erf(x) / x in x squared, relative error
// 2e-9); above, formula 7.1.26 of Abramowitz and Stegun (absolute error 1.5e-7).
template <class D, class V>
V Erf(D d, V x) {
  const V magnitude = hn::Abs(x);
  const V square = hn::Mul(x, x);
  V small = hn::Set(d, 7.875875079272581e-05f);
  for (const float coefficient :
       {-0.0008016864292008972f, 0.005189087423965636f, -0.02685421201089788f, 0.1128359471516665f,
        -0.3761262666672094f, 1.128379165848351f}) {
    small = hn::MulAdd(small, square, hn::Set(d, coefficient));
  }
  small = hn::Mul(small, x);
  const V t =
      hn::Div(hn::Set(d, 1.0f), hn::MulAdd(magnitude, hn::Set(d, 0.3275911f), hn::Set(d, 1.0f)));
  V tail = hn::Set(d, 1.061405429f);
  for (const float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f, 0.0f}) {
    tail = hn::MulAdd(tail, t, hn::Set(d, coefficient));
  }
  // Beyond 9.2 the exponential underflows; the bound keeps its argument in range.
  const V bounded = hn::Min(square, hn::Set(d, 85.0f));
  const V large =
      hn::CopySign(hn::NegMulAdd(tail, hn::Exp(d, hn::Neg(bounded)), hn::Set(d, 1.0f)), x);
  // A comparison with NaN is false, and `small` hands NaN on.
  return hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 1.0f)), large, small);
}

template <class Function>
void Map(const float* from, float* to, size_t size, Function function) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(function(d, hn::LoadU(d, from + i)), d, to + i);
  }
  if (i == size) return;
  HWY_ALIGN float rest[HWY_MAX_BYTES / sizeof(float)] = {};
  std::copy(from + i, from + size, rest);
  hn::Store(function(d, hn::Load(d, rest)), d, rest);
  std::copy(rest, rest + (size - i), to + i);
}

void ErfRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR { return Erf(d, x); });
}

void SinRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR { return hn::Sin(d, x); });
}

void CosRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR { return hn::Cos(d, x); });
}

void SoftplusRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR {
    const auto small = hn::Exp(d, hn::Neg(hn::Abs(x)));
    const auto positive = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Zero(d));
    const auto result = hn::Add(positive, hn::Log1p(d, small));
    return hn::IfThenElse(hn::IsNaN(x), x, result);
  });
}

void SigmoidRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR {
    const auto one = hn::Set(d, 1.0f);
    const auto small = hn::Exp(d, hn::Neg(hn::Abs(x)));
    const auto positive = hn::Div(one, hn::Add(one, small));
    const auto result = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(small, positive), positive);
    return hn::IfThenElse(hn::IsNaN(x), x, result);
  });
}

void TanhRow(const float* from, float* to, size_t size) {
  Map(from, to, size, [](auto d, auto x) HWY_ATTR {
    // Beyond ten it is one, to the precision of a float.
    const auto bounded = hn::Max(hn::Set(d, -10.0f), hn::Min(x, hn::Set(d, 10.0f)));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, bounded));
  });
}

// Sum of function(x) over the row.
template <class Function>
float Accumulate(const float* row, size_t size, Function function) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    sum0 = hn::Add(sum0, function(hn::LoadU(d, row + i)));
    sum1 = hn::Add(sum1, function(hn::LoadU(d, row + i + lanes)));
    sum2 = hn::Add(sum2, function(hn::LoadU(d, row + i + 2 * lanes)));
    sum3 = hn::Add(sum3, function(hn::LoadU(d, row + i + 3 * lanes)));
  }
  for (; i + lanes <= size; i += lanes) sum0 = hn::Add(sum0, function(hn::LoadU(d, row + i)));
  if (i < size) {
    HWY_ALIGN float rest[HWY_MAX_BYTES / sizeof(float)] = {};
    std::copy(row + i, row + size, rest);
    sum1 = hn::Add(sum1, function(hn::Load(d, rest)));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

float SumRow(const float* row, size_t size) {
  return Accumulate(row, size, [](auto x) HWY_ATTR { return x; });
}

float SumSquaresRow(const float* row, size_t size) {
  return Accumulate(row, size, [](auto x) HWY_ATTR { return hn::Mul(x, x); });
}

float SumAbsolutesRow(const float* row, size_t size) {
  return Accumulate(row, size, [](auto x) HWY_ATTR { return hn::Abs(x); });
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(ErfRow);
HWY_EXPORT(SinRow);
HWY_EXPORT(CosRow);
HWY_EXPORT(SoftplusRow);
HWY_EXPORT(SigmoidRow);
HWY_EXPORT(TanhRow);
HWY_EXPORT(SumRow);
HWY_EXPORT(SumSquaresRow);
HWY_EXPORT(SumAbsolutesRow);

namespace {

// Highway reduces arguments exactly up to here only; larger ones are rare.
constexpr float kLargestAngle = 30'000;

bool AllSmall(std::span<const float> angles) {
  return std::all_of(angles.begin(), angles.end(),
                     [](float x) { return std::abs(x) <= kLargestAngle; });
}

}  // namespace

void VectorErf(std::span<const float> from, std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(ErfRow)(from.data(), to.data(), to.size());
}

void VectorSin(std::span<const float> from, std::span<float> to) {
  if (!AllSmall(from)) {
    std::transform(from.begin(), from.end(), to.begin(), [](float x) { return std::sin(x); });
    return;
  }
  HWY_DYNAMIC_DISPATCH(SinRow)(from.data(), to.data(), to.size());
}

void VectorCos(std::span<const float> from, std::span<float> to) {
  if (!AllSmall(from)) {
    std::transform(from.begin(), from.end(), to.begin(), [](float x) { return std::cos(x); });
    return;
  }
  HWY_DYNAMIC_DISPATCH(CosRow)(from.data(), to.data(), to.size());
}

void VectorSoftplus(std::span<const float> from, std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(SoftplusRow)(from.data(), to.data(), to.size());
}

void VectorSigmoid(std::span<const float> from, std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(SigmoidRow)(from.data(), to.data(), to.size());
}

void VectorTanh(std::span<const float> from, std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(TanhRow)(from.data(), to.data(), to.size());
}

float SumOf(std::span<const float> row) {
  return HWY_DYNAMIC_DISPATCH(SumRow)(row.data(), row.size());
}

float SumOfSquares(std::span<const float> row) {
  return HWY_DYNAMIC_DISPATCH(SumSquaresRow)(row.data(), row.size());
}

float SumOfAbsolutes(std::span<const float> row) {
  return HWY_DYNAMIC_DISPATCH(SumAbsolutesRow)(row.data(), row.size());
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
