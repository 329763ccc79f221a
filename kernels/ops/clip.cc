// Clip: bounds in attributes before opset 11, in inputs since.

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/unary.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  if (context.input(0).dtype == DataType::kBool) {
    return absl::InvalidArgumentError("input 0 must be numbers, not BOOL");
  }
  for (const int i : {1, 2}) {
    if (!context.has_input(i)) continue;
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, context.input(0).dtype));
    if (ElementCount(context.shape(i)) != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", i, " must be one number, not ", ToText(context.shape(i))));
    }
  }
  return SameAsInput(context);
}

template <typename T>
T Bound(const graph::Node& node, std::span<const ConstTensorView> inputs, size_t index,
        absl::string_view attribute, T fallback) {
  if (index < inputs.size() && inputs[index].present()) return inputs[index].As<T>()[0];
  if constexpr (std::is_same_v<T, float>) return node.Float(attribute, fallback);
  return fallback;
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    using Limits = std::numeric_limits<T>;
    const T low = Bound<T>(node, inputs, 1, "min", Limits::lowest());
    const T high = Bound<T>(node, inputs, 2, "max", Limits::max());
    const auto from = inputs[0].As<T>();
    const auto to = outputs[0].As<T>();
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = std::min(high, std::max(low, from[i]));
    }
    return absl::OkStatus();
  });
}

// A bound that is known now.
std::optional<float> ConstantBound(const LoweringContext& context, int input,
                                   absl::string_view attribute, float fallback) {
  if (!context.has_input(input)) return context.node().Float(attribute, fallback);
  if (!context.is_constant(input) || !context.constant(input).has_bytes()) return std::nullopt;
  return context.constant(input).As<float>()[0];
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  if (context.input_type(0).dtype != DataType::kFloat32) return false;
  using Limits = std::numeric_limits<float>;
  const std::optional<float> low = ConstantBound(context, 1, "min", Limits::lowest());
  const std::optional<float> high = ConstantBound(context, 2, "max", Limits::max());
  if (!low || !high || *low > *high) return false;
  return LowerEltwise(context, {.op = "Clip", .alpha = *low, .beta = *high});
}

constexpr Operator kOperators[] = {
    {.schema =
         {.type = "Clip", .min_inputs = 1, .max_inputs = 3, .infer = Infer, .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> clip() { return kOperators; }

}  // namespace octet::kernels::ops
