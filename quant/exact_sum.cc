#include "quant/exact_sum.h"

#include <cmath>

namespace octet::quant {
namespace {

constexpr int kLimbBits = 32;
constexpr int64_t kLimbMask = (int64_t{1} << kLimbBits) - 1;
constexpr int kSmallestExponent = -1074;  // of the smallest positive double
constexpr int kMantissaBits = 53;

}  // namespace

void ExactSum::Add(double value) {
  if (value == 0) return;
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent);
  auto mantissa = static_cast<uint64_t>(std::ldexp(fraction, kMantissaBits));
  int position = exponent - kMantissaBits - kSmallestExponent;
  if (position < 0) {  // a subnormal number: the bits shifted out are zero
    mantissa >>= -position;
    position = 0;
  }
  const int shift = position % kLimbBits;
  const int64_t sign = value < 0 ? -1 : 1;
  int64_t* limb = limbs_.data() + position / kLimbBits;
  const uint64_t low = (mantissa & kLimbMask) << shift;
  const uint64_t high = (mantissa >> kLimbBits) << shift;
  limb[0] += sign * static_cast<int64_t>(low & kLimbMask);
  limb[1] += sign * static_cast<int64_t>((low >> kLimbBits) + (high & kLimbMask));
  limb[2] += sign * static_cast<int64_t>(high >> kLimbBits);
  Carry();
}

void ExactSum::Add(const ExactSum& other) {
  for (int i = 0; i < kLimbs; ++i) limbs_[i] += other.limbs_[i];
  Carry();
}

void ExactSum::Carry() {
  for (int i = 0; i + 1 < kLimbs; ++i) {
    limbs_[i + 1] += limbs_[i] >> kLimbBits;
    limbs_[i] &= kLimbMask;
  }
}

std::optional<ExactSum> ExactSum::OfLimbs(std::span<const int64_t> limbs) {
  if (limbs.size() != kLimbs) return std::nullopt;
  ExactSum sum;
  for (size_t i = 0; i < kLimbs; ++i) {
    const bool last = i + 1 == kLimbs;
    // The last one is -1 or 0: there is no double beyond.
    if (last ? limbs[i] < -1 || limbs[i] > 0 : (limbs[i] & ~kLimbMask) != 0) return std::nullopt;
    sum.limbs_[i] = limbs[i];
  }
  if (!std::isfinite(sum.Value())) return std::nullopt;
  return sum;
}

double ExactSum::Value() const {
  ExactSum magnitude = *this;
  const bool negative = limbs_.back() < 0;
  if (negative) {
    for (int64_t& limb : magnitude.limbs_) limb = -limb;
    magnitude.Carry();
  }
  double value = 0;
  for (int i = kLimbs - 1; i >= 0; --i) {
    if (magnitude.limbs_[i] == 0) continue;
    value +=
        std::ldexp(static_cast<double>(magnitude.limbs_[i]), kLimbBits * i + kSmallestExponent);
  }
  return negative ? -value : value;
}

}  // namespace octet::quant
