// Comparisons, boolean and bitwise operators, and choosing by a condition.

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/broadcast.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr auto kEqual = [](auto a, auto b) { return a == b; };
constexpr auto kGreater = [](auto a, auto b) { return a > b; };
constexpr auto kGreaterOrEqual = [](auto a, auto b) { return a >= b; };
constexpr auto kLess = [](auto a, auto b) { return a < b; };
constexpr auto kLessOrEqual = [](auto a, auto b) { return a <= b; };
constexpr auto kAnd = [](auto a, auto b) { return static_cast<decltype(a)>(a & b); };
constexpr auto kOr = [](auto a, auto b) { return static_cast<decltype(a)>(a | b); };
constexpr auto kXor = [](auto a, auto b) { return static_cast<decltype(a)>(a ^ b); };

absl::StatusOr<std::vector<TensorType>> InferBooleans(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kBool));
  return BroadcastInputs(context);
}

absl::StatusOr<std::vector<TensorType>> InferIntegers(const InferContext& context) {
  if (!IsInteger(context.input(0).dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the operands must be integers, not ", Name(context.input(0).dtype)));
  }
  return BroadcastInputs(context);
}

template <auto kFunction>
absl::Status Compare(const graph::Node&, std::span<const ConstTensorView> inputs,
                     std::span<TensorView> outputs) {
  const BroadcastPlan plan = PlanBroadcast(outputs[0].shape, {&inputs[0].shape, &inputs[1].shape});
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    MapPairs(plan, inputs[0].As<T>().data(), inputs[1].As<T>().data(), outputs[0].As<bool>().data(),
             kFunction);
    return absl::OkStatus();
  });
}

template <typename Function>
absl::Status OnIntegers(std::span<const ConstTensorView> inputs, const TensorView& output,
                        Function function) {
  const BroadcastPlan plan = PlanBroadcast(output.shape, {&inputs[0].shape, &inputs[1].shape});
  return VisitType(output.dtype, [&]<typename T>() {
    if constexpr (std::is_integral_v<T>) {
      MapPairs(plan, inputs[0].As<T>().data(), inputs[1].As<T>().data(), output.As<T>().data(),
               function);
    }
    return absl::OkStatus();
  });
}

template <auto kFunction>
absl::Status Bitwise(const graph::Node&, std::span<const ConstTensorView> inputs,
                     std::span<TensorView> outputs) {
  return OnIntegers(inputs, outputs[0], kFunction);
}

// Amounts that are negative or no smaller than the width push every bit out.
constexpr auto kShiftLeft = []<typename T>(T value, T amount) {
  if (static_cast<uint64_t>(amount) >= 8 * sizeof(T)) return T{0};
  return static_cast<T>(static_cast<uint64_t>(value) << static_cast<uint64_t>(amount));
};
constexpr auto kShiftRight = []<typename T>(T value, T amount) {
  if (static_cast<uint64_t>(amount) >= 8 * sizeof(T)) {
    return static_cast<T>(value < T{0} ? -1 : 0);
  }
  return static_cast<T>(value >> static_cast<uint64_t>(amount));
};

absl::StatusOr<std::vector<TensorType>> InferShift(const InferContext& context) {
  const std::string direction = context.node().String("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    return absl::InvalidArgumentError(
        absl::StrCat("direction must be LEFT or RIGHT, not '", direction, "'"));
  }
  return InferIntegers(context);
}

absl::Status Shift(const graph::Node& node, std::span<const ConstTensorView> inputs,
                   std::span<TensorView> outputs) {
  if (node.String("direction", "") == "LEFT") {
    return OnIntegers(inputs, outputs[0], kShiftLeft);
  }
  return OnIntegers(inputs, outputs[0], kShiftRight);
}

// --- one operand ---

absl::StatusOr<std::vector<TensorType>> InferNot(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kBool));
  return SameAsInput(context);
}

absl::Status Not(const graph::Node&, std::span<const ConstTensorView> inputs,
                 std::span<TensorView> outputs) {
  const auto from = inputs[0].As<bool>();
  const auto to = outputs[0].As<bool>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = !from[i];
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferFloatTest(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  return std::vector<TensorType>{{.dtype = DataType::kBool, .shape = context.shape(0)}};
}

absl::Status IsNaN(const graph::Node&, std::span<const ConstTensorView> inputs,
                   std::span<TensorView> outputs) {
  const auto from = inputs[0].As<float>();
  const auto to = outputs[0].As<bool>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::isnan(from[i]);
  return absl::OkStatus();
}

absl::Status IsInf(const graph::Node& node, std::span<const ConstTensorView> inputs,
                   std::span<TensorView> outputs) {
  const bool positive = node.Int("detect_positive", 1) != 0;
  const bool negative = node.Int("detect_negative", 1) != 0;
  const auto from = inputs[0].As<float>();
  const auto to = outputs[0].As<bool>();
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] = std::isinf(from[i]) && (from[i] > 0 ? positive : negative);
  }
  return absl::OkStatus();
}

// --- Where ---

absl::StatusOr<std::vector<TensorType>> InferWhere(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kBool));
  TensorType result = context.input(1);
  OCTET_RETURN_IF_ERROR(ExpectType(context, 2, result.dtype));
  OCTET_ASSIGN_OR_RETURN(result.shape, BroadcastShapes(context.shape(1), context.shape(2)));
  OCTET_ASSIGN_OR_RETURN(result.shape, BroadcastShapes(result.shape, context.shape(0)));
  return std::vector<TensorType>{std::move(result)};
}

absl::Status Where(const graph::Node&, std::span<const ConstTensorView> inputs,
                   std::span<TensorView> outputs) {
  const BroadcastPlan plan =
      PlanBroadcast(outputs[0].shape, {&inputs[0].shape, &inputs[1].shape, &inputs[2].shape});
  const int64_t step = plan.strides[0].back(), if_step = plan.strides[1].back();
  const int64_t then_step = plan.strides[2].back(), else_step = plan.strides[3].back();
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    const bool* const condition = inputs[0].As<bool>().data();
    ForEachRow(plan, [&](const int64_t* offsets, int64_t count) {
      T* const to = outputs[0].As<T>().data() + offsets[0];
      const bool* const chosen = condition + offsets[1];
      const T* const then_row = inputs[1].As<T>().data() + offsets[2];
      const T* const else_row = inputs[2].As<T>().data() + offsets[3];
      if (step == 1 && if_step == 1 && then_step == 1 && else_step == 1) {
        for (int64_t i = 0; i < count; ++i) to[i] = chosen[i] ? then_row[i] : else_row[i];
        return;
      }
      for (int64_t i = 0; i < count; ++i) {
        to[i * step] = chosen[i * if_step] ? then_row[i * then_step] : else_row[i * else_step];
      }
    });
    return absl::OkStatus();
  });
}

constexpr Operator Row(absl::string_view type, graph::InferFn infer, graph::ReferenceFn reference,
                       int inputs = 2) {
  return {.schema = {.type = type,
                     .min_inputs = inputs,
                     .max_inputs = inputs,
                     .infer = infer,
                     .reference = reference}};
}

constexpr std::array kOperators = {
    Row("Equal", BroadcastToBool, Compare<kEqual>),
    Row("Greater", BroadcastToBool, Compare<kGreater>),
    Row("GreaterOrEqual", BroadcastToBool, Compare<kGreaterOrEqual>),
    Row("Less", BroadcastToBool, Compare<kLess>),
    Row("LessOrEqual", BroadcastToBool, Compare<kLessOrEqual>),
    Row("And", InferBooleans, Bitwise<kAnd>),
    Row("Or", InferBooleans, Bitwise<kOr>),
    Row("Xor", InferBooleans, Bitwise<kXor>),
    Row("BitwiseAnd", InferIntegers, Bitwise<kAnd>),
    Row("BitwiseOr", InferIntegers, Bitwise<kOr>),
    Row("BitwiseXor", InferIntegers, Bitwise<kXor>),
    Row("BitShift", InferShift, Shift),
    Row("Not", InferNot, Not, 1),
    Row("IsNaN", InferFloatTest, IsNaN, 1),
    Row("IsInf", InferFloatTest, IsInf, 1),
    Row("Where", InferWhere, Where, 3),
};

}  // namespace

std::span<const Operator> logic() { return kOperators; }

}  // namespace octet::kernels::ops
