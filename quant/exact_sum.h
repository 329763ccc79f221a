// A sum of doubles without rounding: the order of additions and merges does not matter, bit for
// bit. Fixed point, wide enough for every double there is.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace octet::quant {

// Not thread-safe. Holds up to 2^60 terms.
class ExactSum {
 public:
  // `value` must be finite.
  void Add(double value);
  void Add(const ExactSum& other);

  // The sum, correct to within one part in 2^50.
  double Value() const;

  // The sum as numbers to be kept, and back; nothing if no sum is kept like this, or it is
  // infinite.
  std::span<const int64_t> limbs() const { return limbs_; }
  static std::optional<ExactSum> OfLimbs(std::span<const int64_t> limbs);

  bool operator==(const ExactSum&) const = default;

 private:
  // Limb i counts 2^(32 i - 1074). After Carry() all but the last, which has the sign, lie in
  // [0, 2^32), so equal sums have equal limbs.
  static constexpr int kLimbs = 68;
  void Carry();

  std::array<int64_t, kLimbs> limbs_ = {};
};

}  // namespace octet::quant
