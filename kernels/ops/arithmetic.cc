// Arithmetic of two or more operands that broadcast against each other.

#include <array>
#include <cmath>

#include "base/status.h"
#include "kernels/binary.h"
#include "kernels/broadcast.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/unary.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> InferArithmetic(const InferContext& context) {
  if (context.input(0).dtype == DataType::kBool) {
    return absl::InvalidArgumentError("the operands must be numbers, not BOOL");
  }
  return BroadcastInputs(context);
}

absl::StatusOr<std::vector<TensorType>> InferFloats(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  return BroadcastInputs(context);
}

// Integers wrap around, as unsigned arithmetic does; dividing by zero gives zero.
constexpr auto kAdd = []<typename T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a + b;
  else
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
};
constexpr auto kSubtract = []<typename T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a - b;
  else
    return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
};
constexpr auto kMultiply = []<typename T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a * b;
  else
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
};
constexpr auto kDivide = []<typename T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a / b;
  else if (b == T{0})
    return T{0};
  else if (std::is_signed_v<T> && b == static_cast<T>(-1))
    return kSubtract(T{0}, a);
  else
    return static_cast<T>(a / b);
};
constexpr auto kIsNan = []<typename T>(T a) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(a);
  return false;
};
// The operand that is NaN wins, as in numpy.
constexpr auto kMaximum = []<typename T>(T a, T b) { return a > b || kIsNan(a) ? a : b; };
constexpr auto kMinimum = []<typename T>(T a, T b) { return a < b || kIsNan(a) ? a : b; };

// The result has the sign of the dividend.
constexpr auto kTruncatedRemainder = []<typename T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmod(a, b);
  else if (b == T{0} || (std::is_signed_v<T> && b == static_cast<T>(-1)))
    return T{0};
  else
    return static_cast<T>(a % b);
};
// The result has the sign of the divisor.
constexpr auto kFlooredRemainder = []<typename T>(T a, T b) {
  const T remainder = kTruncatedRemainder(a, b);
  if constexpr (std::is_floating_point_v<T>) {
    if (remainder == 0) return std::copysign(remainder, b);
  }
  return remainder != T{0} && (remainder < T{0}) != (b < T{0}) ? kAdd(remainder, b) : remainder;
};

template <auto kFunction>
absl::Status Pairs(std::span<const ConstTensorView> inputs, const TensorView& output) {
  const BroadcastPlan plan = PlanBroadcast(output.shape, {&inputs[0].shape, &inputs[1].shape});
  return VisitType(output.dtype, [&]<typename T>() {
    MapPairs(plan, inputs[0].As<T>().data(), inputs[1].As<T>().data(), output.As<T>().data(),
             kFunction);
    return absl::OkStatus();
  });
}

template <auto kFunction>
absl::Status Binary(const graph::Node&, std::span<const ConstTensorView> inputs,
                    std::span<TensorView> outputs) {
  return Pairs<kFunction>(inputs, outputs[0]);
}

// Any number of operands: the first is copied, the others are taken in one by one.
template <auto kFunction>
absl::Status Variadic(const graph::Node&, std::span<const ConstTensorView> inputs,
                      std::span<TensorView> outputs) {
  if (inputs.size() == 2) return Pairs<kFunction>(inputs, outputs[0]);
  const BroadcastPlan copy = PlanBroadcast(outputs[0].shape, {&outputs[0].shape, &inputs[0].shape});
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    T* const result = outputs[0].As<T>().data();
    MapPairs(copy, result, inputs[0].As<T>().data(), result, [](T, T value) { return value; });
    for (const ConstTensorView& input : inputs.subspan(1)) {
      const BroadcastPlan plan = PlanBroadcast(outputs[0].shape, {&outputs[0].shape, &input.shape});
      MapPairs(plan, result, input.As<T>().data(), result, kFunction);
    }
    return absl::OkStatus();
  });
}

absl::Status Mean(const graph::Node& node, std::span<const ConstTensorView> inputs,
                  std::span<TensorView> outputs) {
  OCTET_RETURN_IF_ERROR(Variadic<kAdd>(node, inputs, outputs));
  for (float& value : outputs[0].As<float>()) value /= static_cast<float>(inputs.size());
  return absl::OkStatus();
}

absl::Status Mod(const graph::Node& node, std::span<const ConstTensorView> inputs,
                 std::span<TensorView> outputs) {
  if (node.Int("fmod", 0) != 0) return Pairs<kTruncatedRemainder>(inputs, outputs[0]);
  return Pairs<kFlooredRemainder>(inputs, outputs[0]);
}

template <BinaryOp kOp>
absl::StatusOr<bool> Lower(LoweringContext& context) {
  if (context.input_count() != 2) return false;
  return LowerBinary(context, kOp);
}

// --- Pow ---

// Exact for integers, where the result fits; wraps where it does not.
template <typename T>
T IntegerPower(T base, int64_t exponent) {
  if (exponent < 0) {
    if (base == T{1}) return T{1};
    if (std::is_signed_v<T> && base == static_cast<T>(-1)) {
      return exponent % 2 == 0 ? T{1} : base;
    }
    return T{0};
  }
  uint64_t result = 1;
  for (uint64_t factor = static_cast<uint64_t>(base); exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

absl::StatusOr<std::vector<TensorType>> InferPow(const InferContext& context) {
  for (const int i : {0, 1}) {
    if (context.input(i).dtype == DataType::kBool) {
      return absl::InvalidArgumentError("the operands must be numbers, not BOOL");
    }
  }
  TensorType result = context.input(0);
  OCTET_ASSIGN_OR_RETURN(result.shape, BroadcastShapes(context.shape(0), context.shape(1)));
  return std::vector<TensorType>{std::move(result)};
}

// Bases and exponents may have different types: exponents are brought to float or int64 first.
template <typename To>
std::vector<To> Converted(const ConstTensorView& view) {
  std::vector<To> result(static_cast<size_t>(view.size()));
  VisitType(view.dtype, [&]<typename T>() {
    std::transform(view.As<T>().begin(), view.As<T>().end(), result.begin(),
                   [](T value) { return static_cast<To>(value); });
  });
  return result;
}

absl::Status Pow(const graph::Node&, std::span<const ConstTensorView> inputs,
                 std::span<TensorView> outputs) {
  const BroadcastPlan plan = PlanBroadcast(outputs[0].shape, {&inputs[0].shape, &inputs[1].shape});
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const T* const base = inputs[0].As<T>().data();
    T* const result = outputs[0].As<T>().data();
    if (std::is_integral_v<T> && inputs[1].dtype != DataType::kFloat32) {
      const std::vector<int64_t> exponents = Converted<int64_t>(inputs[1]);
      MapPairs(plan, base, exponents.data(), result,
               [](T x, int64_t y) { return IntegerPower(x, y); });
    } else {
      const std::vector<float> exponents = Converted<float>(inputs[1]);
      MapPairs(plan, base, exponents.data(), result, [](T x, float y) {
        if (y == 2) return static_cast<T>(x * x);
        return static_cast<T>(std::pow(static_cast<float>(x), y));
      });
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> LowerPow(LoweringContext& context) {
  if (!context.is_constant(1) || context.constant(1).size() != 1 ||
      context.input_shape(0) != context.output_shape(0) || !context.constant(1).has_bytes() ||
      context.constant(1).dtype() != DataType::kFloat32) {
    return false;
  }
  const float exponent = context.constant(1).As<float>()[0];
  if (exponent == 0.5f) return LowerEltwise(context, {.op = "Sqrt"});
  if (exponent == 2.0f) return LowerEltwise(context, {.op = "Square"});
  return false;
}

// --- the table ---

constexpr Operator Row(absl::string_view type, graph::InferFn infer, graph::ReferenceFn reference,
                       LowerFn lower = nullptr, graph::QuantRole quant = graph::QuantRole::kFloat) {
  return {.schema = {.type = type,
                     .min_inputs = 2,
                     .max_inputs = 2,
                     .quant = quant,
                     .infer = infer,
                     .reference = reference},
          .lower = lower};
}

constexpr Operator VariadicRow(absl::string_view type, graph::InferFn infer,
                               graph::ReferenceFn reference, LowerFn lower = nullptr) {
  Operator row = Row(type, infer, reference, lower);
  row.schema.min_inputs = 1;
  row.schema.max_inputs = graph::OpSchema::kVariadic;
  return row;
}

constexpr auto kCombine = graph::QuantRole::kCombine;

constexpr std::array kOperators = {
    Row("Add", InferArithmetic, Binary<kAdd>, Lower<BinaryOp::kAdd>, kCombine),
    Row("Sub", InferArithmetic, Binary<kSubtract>, Lower<BinaryOp::kSubtract>),
    Row("Mul", InferArithmetic, Binary<kMultiply>, Lower<BinaryOp::kMultiply>, kCombine),
    Row("Div", InferArithmetic, Binary<kDivide>, Lower<BinaryOp::kDivide>),
    Row("Mod", InferArithmetic, Mod),
    Row("Pow", InferPow, Pow, LowerPow),
    VariadicRow("Max", InferArithmetic, Variadic<kMaximum>, Lower<BinaryOp::kMaximum>),
    VariadicRow("Min", InferArithmetic, Variadic<kMinimum>, Lower<BinaryOp::kMinimum>),
    VariadicRow("Sum", InferFloats, Variadic<kAdd>, Lower<BinaryOp::kAdd>),
    VariadicRow("Mean", InferFloats, Mean),
};

}  // namespace

std::span<const Operator> arithmetic() { return kOperators; }

}  // namespace octet::kernels::ops
