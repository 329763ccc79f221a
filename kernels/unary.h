// What the operators of one input that keep its shape share.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"

namespace octet::kernels {

// The two attributes that most parametrised activations have; their defaults differ by operator.
struct AlphaBeta {
  float alpha = 0;
  float beta = 0;
};

AlphaBeta ReadAlphaBeta(const graph::Node& node, AlphaBeta defaults);

// One output of input 0's type, which must be float32.
absl::StatusOr<std::vector<TensorType>> InferFloatUnary(const InferContext& context);
// One output of input 0's type, which must be a number.
absl::StatusOr<std::vector<TensorType>> InferNumericUnary(const InferContext& context);

// oneDNN's elementwise primitive on the layout that the input lies in, which goes on to the
// consumers. False for what oneDNN has not got.
absl::StatusOr<bool> LowerEltwise(LoweringContext& context, const graph::FusedOp& op);

// y = kFunction(x) or kFunction(x, AlphaBeta) on float32.
template <auto kFunction, AlphaBeta kDefaults = AlphaBeta{}>
absl::Status MapFloats(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const auto from = inputs[0].As<float>();
  const auto to = outputs[0].As<float>();
  if constexpr (requires { kFunction(1.0f); }) {
    for (size_t i = 0; i < to.size(); ++i) to[i] = kFunction(from[i]);
  } else {
    const AlphaBeta parameters = ReadAlphaBeta(node, kDefaults);
    for (size_t i = 0; i < to.size(); ++i) to[i] = kFunction(from[i], parameters);
  }
  return absl::OkStatus();
}

// The row of a function that oneDNN has not got, or not precisely, from our own vector code.
template <void (*kFunction)(std::span<const float>, std::span<float>)>
absl::Status MapVectors(const graph::Node&, std::span<const ConstTensorView> inputs,
                        std::span<TensorView> outputs) {
  kFunction(inputs[0].As<float>(), outputs[0].As<float>());
  return absl::OkStatus();
}

template <void (*kFunction)(std::span<const float>, std::span<float>)>
constexpr Operator VectorUnary(absl::string_view type) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = InferFloatUnary,
                     .reference = MapVectors<kFunction>}};
}

// y = kFunction(x) in whatever type the input has.
template <auto kFunction>
absl::Status MapNumbers(const graph::Node&, std::span<const ConstTensorView> inputs,
                        std::span<TensorView> outputs) {
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const auto from = inputs[0].As<T>();
    const auto to = outputs[0].As<T>();
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<T>(kFunction(from[i]));
    return absl::OkStatus();
  });
}

template <AlphaBeta kDefaults = AlphaBeta{}>
absl::StatusOr<bool> LowerActivation(LoweringContext& context) {
  const AlphaBeta parameters = ReadAlphaBeta(context.node(), kDefaults);
  return LowerEltwise(
      context, {.op = context.node().op, .alpha = parameters.alpha, .beta = parameters.beta});
}

// The row of an operator on float32.
template <auto kFunction, AlphaBeta kDefaults = AlphaBeta{}>
constexpr Operator FloatUnary(absl::string_view type, LowerFn lower = nullptr) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = InferFloatUnary,
                     .reference = MapFloats<kFunction, kDefaults>},
          .lower = lower};
}

// The row of an operator on all types of numbers.
template <auto kFunction>
constexpr Operator NumericUnary(absl::string_view type, LowerFn lower = nullptr) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = InferNumericUnary,
                     .reference = MapNumbers<kFunction>},
          .lower = lower};
}

}  // namespace octet::kernels
