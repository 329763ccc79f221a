// Mathematical functions of one input, element by element.

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/unary.h"
#include "kernels/vector_math.h"

namespace octet::kernels::ops {
namespace {

constexpr auto kAbs = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_floating_point_v<T>) return std::abs(x);
  // By unsigned arithmetic: the lowest signed value has no positive counterpart.
  else
    return x < T{0} ? static_cast<T>(0 - static_cast<uint64_t>(x)) : x;
};
constexpr auto kNegate = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_floating_point_v<T>)
    return -x;
  else
    return static_cast<T>(0 - static_cast<uint64_t>(x));
};
constexpr auto kSign = [](auto x) {
  using T = decltype(x);
  return static_cast<T>(x > T{0} ? 1 : x < T{0} ? -1 : x);  // NaN stays NaN
};
constexpr auto kComplement = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    return static_cast<T>(~x);
  else
    return x;  // not reached: integers only
};

constexpr auto kAcos = [](float x) { return std::acos(x); };
constexpr auto kAcosh = [](float x) { return std::acosh(x); };
constexpr auto kAsin = [](float x) { return std::asin(x); };
constexpr auto kAsinh = [](float x) { return std::asinh(x); };
constexpr auto kAtan = [](float x) { return std::atan(x); };
constexpr auto kAtanh = [](float x) { return std::atanh(x); };
constexpr auto kCeil = [](float x) { return std::ceil(x); };
constexpr auto kCosh = [](float x) { return std::cosh(x); };
constexpr auto kExp = [](float x) { return std::exp(x); };
constexpr auto kFloor = [](float x) { return std::floor(x); };
constexpr auto kLog = [](float x) { return std::log(x); };
constexpr auto kReciprocal = [](float x) { return 1 / x; };
constexpr auto kRound = [](float x) { return std::nearbyint(x); };  // half to even
constexpr auto kSinh = [](float x) { return std::sinh(x); };
constexpr auto kSqrt = [](float x) { return std::sqrt(x); };
constexpr auto kTan = [](float x) { return std::tan(x); };

absl::StatusOr<std::vector<TensorType>> InferIntegers(const InferContext& context) {
  if (!IsInteger(context.input(0).dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 must be integers, not ", Name(context.input(0).dtype)));
  }
  return SameAsInput(context);
}

constexpr std::array kOperators = {
    NumericUnary<kAbs>("Abs", LowerActivation<>),
    NumericUnary<kNegate>("Neg"),
    NumericUnary<kSign>("Sign"),
    FloatUnary<kAcos>("Acos"),
    FloatUnary<kAcosh>("Acosh"),
    FloatUnary<kAsin>("Asin"),
    FloatUnary<kAsinh>("Asinh"),
    FloatUnary<kAtan>("Atan"),
    FloatUnary<kAtanh>("Atanh"),
    FloatUnary<kCeil>("Ceil"),
    VectorUnary<VectorCos>("Cos"),
    FloatUnary<kCosh>("Cosh"),
    VectorUnary<VectorErf>("Erf"),
    FloatUnary<kExp>("Exp", LowerActivation<>),
    FloatUnary<kFloor>("Floor"),
    FloatUnary<kLog>("Log", LowerActivation<>),
    FloatUnary<kReciprocal>("Reciprocal"),
    FloatUnary<kRound>("Round"),
    VectorUnary<VectorSin>("Sin"),
    FloatUnary<kSinh>("Sinh"),
    FloatUnary<kSqrt>("Sqrt", LowerActivation<>),
    FloatUnary<kTan>("Tan"),
    Operator{.schema = {.type = "BitwiseNot",
                        .min_inputs = 1,
                        .max_inputs = 1,
                        .infer = InferIntegers,
                        .reference = MapNumbers<kComplement>}},
};

}  // namespace

std::span<const Operator> elementwise() { return kOperators; }

}  // namespace octet::kernels::ops
