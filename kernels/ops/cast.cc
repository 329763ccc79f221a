// Cast and CastLike.

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

// A float that an integer type cannot hold gives what wrapping gives, NaN zero: any value, but no
// undefined behaviour.
template <typename To>
To FromFloat(float value) {
  constexpr float kLimit = 9.2e18f;
  if (!(std::abs(value) < kLimit)) {
    if (std::is_unsigned_v<To> && value > 0 && value < 2 * kLimit) {
      return static_cast<To>(static_cast<uint64_t>(value));
    }
    return To{0};
  }
  return static_cast<To>(static_cast<int64_t>(value));
}

template <typename From, typename To>
To Convert(From value) {
  if constexpr (std::is_same_v<To, bool>)
    return value != From{0};
  else if constexpr (std::is_same_v<From, float> && std::is_integral_v<To>) {
    return FromFloat<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

void ConvertAll(const ConstTensorView& input, const TensorView& output) {
  VisitType(input.dtype, [&]<typename From>() {
    VisitType(output.dtype, [&]<typename To>() {
      const auto from = input.As<From>();
      std::transform(from.begin(), from.end(), output.As<To>().begin(), Convert<From, To>);
    });
  });
}

// Narrower floats are kept in float32, rounded to what they can hold.
void RoundTo(DataType border, std::span<float> values) {
  if (border == DataType::kFloat16) {
    for (float& value : values) value = HalfToFloat(FloatToHalf(value));
  } else if (border == DataType::kBFloat16) {
    for (float& value : values) value = BFloat16ToFloat(FloatToBFloat16(value));
  }
}

absl::StatusOr<std::vector<TensorType>> InferCast(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const DataType to, ElementTypeOf(context.node().Int("to", 0)));
  return std::vector<TensorType>{{.dtype = ComputeType(to), .shape = context.shape(0)}};
}

absl::Status Cast(const graph::Node& node, std::span<const ConstTensorView> inputs,
                  std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const DataType to, ElementTypeOf(node.Int("to", 0)));
  ConvertAll(inputs[0], outputs[0]);
  if (outputs[0].dtype == DataType::kFloat32) RoundTo(to, outputs[0].As<float>());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferCastLike(const InferContext& context) {
  return std::vector<TensorType>{{.dtype = context.input(1).dtype, .shape = context.shape(0)}};
}

absl::Status CastLike(const graph::Node&, std::span<const ConstTensorView> inputs,
                      std::span<TensorView> outputs) {
  ConvertAll(inputs[0], outputs[0]);
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema =
         {.type = "Cast", .min_inputs = 1, .max_inputs = 1, .infer = InferCast, .reference = Cast}},
    {.schema = {.type = "CastLike",
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = InferCastLike,
                .reference = CastLike}},
};

}  // namespace

std::span<const Operator> cast() { return kOperators; }

}  // namespace octet::kernels::ops
