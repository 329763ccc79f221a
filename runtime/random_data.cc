#include "runtime/random_data.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/status.h"

namespace octet::runtime {
namespace {

using graph::TensorType;

constexpr size_t kStride = 7919;
constexpr std::array<float, 4> kFactors = {1, 4, 0.5f, 2};

// Random elements, repeated; the length is prime so that no dimension divides it.
constexpr size_t kPatternLength = 65521;

// The largest code every other time: neighbouring large products are what saturates.
template <typename T>
std::vector<T> CodePattern(int32_t first, int32_t last, std::mt19937& random) {
  std::vector<T> pattern(kPatternLength);
  for (T& code : pattern) {
    const uint32_t draw = random();
    const auto range = static_cast<uint32_t>(last - first + 1);
    code =
        static_cast<T>((draw & 1) != 0 ? last : first + static_cast<int32_t>((draw >> 1) % range));
  }
  return pattern;
}

// Numbers from kLow to kHigh that no quantizer of that range rounds at a tie, where a kernel that
// multiplies by the reciprocal may differ from one that divides.
constexpr float kLow = -1, kHigh = 1.25f;

bool NearTie(double steps) { return std::abs(std::abs(steps - std::trunc(steps)) - 0.5) < 0.05; }

std::vector<float> RowPattern(float factor, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(kLow, kHigh);
  std::vector<float> pattern(kPatternLength);
  for (float& value : pattern) {
    value = kHigh;
    if ((random() & 1) != 0) continue;
    do {
      value = uniform(random);
    } while (NearTie(value * 255 / (kHigh - kLow)) || NearTie(value * 127 / kHigh));
  }
  for (float& value : pattern) value *= factor;
  return pattern;
}

template <typename T>
void Repeat(const std::vector<T>& pattern, size_t start, std::span<T> to) {
  for (size_t at = start % pattern.size(); !to.empty(); at = 0) {
    const size_t count = std::min(pattern.size() - at, to.size());
    std::copy_n(pattern.begin() + static_cast<ptrdiff_t>(at), count, to.begin());
    to = to.subspan(count);
  }
}

}  // namespace

RandomData::RandomData()
    : uint8_(CodePattern<uint8_t>(0, 255, random_)),
      int8_(CodePattern<int8_t>(-127, 127, random_)) {
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i] = RowPattern(kFactors[i], random_);
}

absl::StatusOr<Tensor> RandomData::Codes(const TensorType& type, size_t seed) const {
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(type.dtype, type.shape));
  if (type.dtype == DataType::kUint8) {
    Repeat(uint8_, seed * kStride, tensor.MutableAs<uint8_t>());
  } else {
    Repeat(int8_, seed * kStride, tensor.MutableAs<int8_t>());
  }
  return tensor;
}

absl::StatusOr<Tensor> RandomData::Rows(const Shape& shape, int64_t row_size) const {
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(DataType::kFloat32, shape));
  std::span<float> rest = tensor.MutableAs<float>();
  for (size_t row = 0; !rest.empty(); ++row) {
    const std::span<float> to = rest.first(static_cast<size_t>(row_size));
    Repeat(rows_[row % rows_.size()], row * kStride, to);
    to.front() = kLow * kFactors[row % rows_.size()];
    if (to.size() > 1) to[1] = kHigh * kFactors[row % rows_.size()];
    rest = rest.subspan(to.size());
  }
  return tensor;
}

}  // namespace octet::runtime
