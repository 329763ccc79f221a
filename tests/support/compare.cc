#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace octet::testing {
namespace {

// One unit in the last place of bfloat16 is 2^-7 of the value: two of them, as in ONNX's runner.
constexpr double kBFloat16Tolerance = 1.0 / 64;

float AtBorder(float value, DataType border_type) {
  if (border_type == DataType::kFloat16) return HalfToFloat(FloatToHalf(value));
  if (border_type == DataType::kBFloat16) return BFloat16ToFloat(FloatToBFloat16(value));
  return value;
}

bool Close(float actual, float expected, Tolerance tolerance) {
  if (std::isnan(actual) || std::isnan(expected)) return std::isnan(actual) == std::isnan(expected);
  if (std::isinf(actual) || std::isinf(expected)) return actual == expected;
  return std::abs(double{actual} - expected) <=
         tolerance.absolute + tolerance.relative * std::abs(double{expected});
}

}  // namespace

std::string Difference(const Tensor& actual, const Tensor& expected, DataType border_type,
                       Tolerance tolerance) {
  if (actual.dtype() != expected.dtype() || actual.shape() != expected.shape()) {
    return absl::StrCat("is ", Name(actual.dtype()), ToText(actual.shape()), ", expected ",
                        Name(expected.dtype()), ToText(expected.shape()));
  }
  if (border_type == DataType::kBFloat16) {
    tolerance.relative = std::max(tolerance.relative, kBFloat16Tolerance);
  }
  return VisitType(actual.dtype(), [&]<typename T>() -> std::string {
    const auto a = actual.As<T>();
    const auto b = expected.As<T>();
    size_t different = 0, first = 0;
    for (size_t i = a.size(); i-- > 0;) {
      bool equal = a[i] == b[i];
      if constexpr (std::is_same_v<T, float>) {
        equal = Close(AtBorder(a[i], border_type), AtBorder(b[i], border_type), tolerance);
      }
      if (!equal) {
        ++different;
        first = i;
      }
    }
    if (different == 0) return "";
    return absl::StrCat(different, " of ", a.size(), " elements differ, first element ", first,
                        ": is ", +a[first], ", expected ", +b[first]);
  });
}

}  // namespace octet::testing
