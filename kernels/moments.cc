#include "kernels/moments.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/moments.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

float Sum(const float* HWY_RESTRICT x, size_t size) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0;
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    sum0 = hn::Add(sum0, hn::LoadU(d, x + i));
    sum1 = hn::Add(sum1, hn::LoadU(d, x + i + lanes));
  }
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < size; ++i) total += x[i];
  return total;
}

float SumOfSquares(const float* HWY_RESTRICT x, size_t size, float center) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto middle = hn::Set(d, center);
  auto sum0 = hn::Zero(d), sum1 = sum0;
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    const auto a = hn::Sub(hn::LoadU(d, x + i), middle);
    const auto b = hn::Sub(hn::LoadU(d, x + i + lanes), middle);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < size; ++i) total += (x[i] - center) * (x[i] - center);
  return total;
}

void Affine(const float* from, size_t size, float factor, float offset, float* to) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor), offsets = hn::Set(d, offset);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(hn::LoadU(d, from + i), factors, offsets), d, to + i);
  }
  for (; i < size; ++i) to[i] = from[i] * factor + offset;
}

void Elements(std::span<const float> values, float mean, float factor, const float* scale,
              const float* shift, float* to) {
  const hn::ScalableTag<float> d;
  const float* const from = values.data();
  const size_t size = values.size();
  const size_t lanes = hn::Lanes(d);
  const auto means = hn::Set(d, mean), factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, from + i), means), factors);
    const auto offset = shift == nullptr ? hn::Zero(d) : hn::LoadU(d, shift + i);
    hn::StoreU(hn::MulAdd(normal, hn::LoadU(d, scale + i), offset), d, to + i);
  }
  for (; i < size; ++i) {
    to[i] = (from[i] - mean) * factor * scale[i] + (shift == nullptr ? 0.0f : shift[i]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(Sum);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(Affine);
HWY_EXPORT(Elements);

Moments MomentsOf(std::span<const float> values) {
  if (values.empty()) return {};
  const auto count = static_cast<float>(values.size());
  const float mean = HWY_DYNAMIC_DISPATCH(Sum)(values.data(), values.size()) / count;
  const float squares = HWY_DYNAMIC_DISPATCH(SumOfSquares)(values.data(), values.size(), mean);
  return {.mean = mean, .variance = squares / count};
}

float MeanOfSquares(std::span<const float> values) {
  if (values.empty()) return 0;
  return HWY_DYNAMIC_DISPATCH(SumOfSquares)(values.data(), values.size(), 0) /
         static_cast<float>(values.size());
}

void ScaleAndShift(std::span<const float> from, float factor, float offset, float* to) {
  HWY_DYNAMIC_DISPATCH(Affine)(from.data(), from.size(), factor, offset, to);
}

void NormalizeElements(std::span<const float> from, float mean, float factor, const float* scale,
                       const float* shift, float* to) {
  HWY_DYNAMIC_DISPATCH(Elements)(from, mean, factor, scale, shift, to);
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
