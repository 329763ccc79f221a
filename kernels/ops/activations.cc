// Activation functions: elementwise, with oneDNN kernels for the common ones.

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/binary.h"
#include "kernels/broadcast.h"
#include "kernels/unary.h"
#include "kernels/vector_math.h"

namespace octet::kernels::ops {
namespace {

constexpr float kInverseSqrt2 = 0.70710678118654752f;
constexpr float kSqrt2OverPi = 0.79788456080286536f;

float Logistic(float x) { return 1 / (1 + std::exp(-x)); }

// log(1 + e^x) without overflow.
float LogOnePlusExp(float x) { return std::max(x, 0.0f) + std::log1p(std::exp(-std::abs(x))); }

constexpr auto kRelu = [](auto x) { return x > 0 ? x : decltype(x){0}; };
constexpr auto kLeakyRelu = [](float x, AlphaBeta p) { return x < 0 ? p.alpha * x : x; };
constexpr auto kThresholdedRelu = [](float x, AlphaBeta p) { return x > p.alpha ? x : 0.0f; };
constexpr auto kElu = [](float x, AlphaBeta p) { return x < 0 ? p.alpha * std::expm1(x) : x; };
constexpr auto kCelu = [](float x, AlphaBeta p) {
  return std::max(0.0f, x) + std::min(0.0f, p.alpha * std::expm1(x / p.alpha));
};
constexpr auto kSigmoid = [](float x) { return Logistic(x); };
constexpr auto kHardSigmoid = [](float x, AlphaBeta p) {
  return std::max(0.0f, std::min(1.0f, p.alpha * x + p.beta));
};
constexpr auto kHardSwish = [](float x) {
  return x * std::max(0.0f, std::min(1.0f, x / 6 + 0.5f));
};
constexpr auto kSwish = [](float x, AlphaBeta p) { return x * Logistic(p.alpha * x); };
constexpr auto kMish = [](float x) { return x * std::tanh(LogOnePlusExp(x)); };
constexpr auto kTanh = [](float x) { return std::tanh(x); };
constexpr auto kSoftsign = [](float x) { return x / (1 + std::abs(x)); };

bool IsTanhGelu(const graph::Node& node) { return node.String("approximate", "none") == "tanh"; }

absl::Status Gelu(const graph::Node& node, std::span<const ConstTensorView> inputs,
                  std::span<TensorView> outputs) {
  const auto from = inputs[0].As<float>();
  const auto to = outputs[0].As<float>();
  const bool use_tanh = IsTanhGelu(node);
  for (size_t i = 0; i < to.size(); ++i) {
    const float x = from[i];
    to[i] = use_tanh ? 0.5f * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)))
                     : 0.5f * x * (1 + std::erf(x * kInverseSqrt2));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> LowerGelu(LoweringContext& context) {
  return LowerEltwise(context, {.op = IsTanhGelu(context.node()) ? "GeluTanh" : "Gelu"});
}

absl::Status Selu(const graph::Node& node, std::span<const ConstTensorView> inputs,
                  std::span<TensorView> outputs) {
  const float alpha = node.Float("alpha", 1.67326319217681884765625f);
  const float gamma = node.Float("gamma", 1.05070102214813232421875f);
  const auto from = inputs[0].As<float>();
  const auto to = outputs[0].As<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] = gamma * (from[i] > 0 ? from[i] : alpha * std::expm1(from[i]));
  }
  return absl::OkStatus();
}

absl::Status Shrink(const graph::Node& node, std::span<const ConstTensorView> inputs,
                    std::span<TensorView> outputs) {
  const float threshold = node.Float("lambd", 0.5f), bias = node.Float("bias", 0);
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const auto from = inputs[0].As<T>();
    const auto to = outputs[0].As<T>();
    for (size_t i = 0; i < to.size(); ++i) {
      const auto x = static_cast<float>(from[i]);
      to[i] = static_cast<T>(x < -threshold ? x + bias : x > threshold ? x - bias : 0);
    }
    return absl::OkStatus();
  });
}

// The slope as it broadcasts. Before opset 7 a slope for each channel was written [C], and
// converted models still have it so.
Shape SlopeShape(const Shape& input, const Shape& slope) {
  if (slope.size() != 1 || slope[0] == 1 || input.size() < 2 || slope[0] == input.back() ||
      slope[0] != input[1]) {
    return slope;
  }
  Shape shape(input.size() - 1, 1);
  shape[0] = slope[0];
  return shape;
}

absl::StatusOr<std::vector<TensorType>> InferPRelu(const InferContext& context) {
  const Shape& input = context.shape(0);
  OCTET_RETURN_IF_ERROR(ExpectType(context, 1, context.input(0).dtype));
  OCTET_ASSIGN_OR_RETURN(const Shape shape,
                         BroadcastShapes(input, SlopeShape(input, context.shape(1))));
  if (shape != input) {
    return absl::InvalidArgumentError(absl::StrCat("the slope ", ToText(context.shape(1)),
                                                   " does not broadcast to the input ",
                                                   ToText(input)));
  }
  return SameAsInput(context);
}

absl::Status PRelu(const graph::Node&, std::span<const ConstTensorView> inputs,
                   std::span<TensorView> outputs) {
  const Shape slope = SlopeShape(inputs[0].shape, inputs[1].shape);
  const BroadcastPlan plan = PlanBroadcast(outputs[0].shape, {&inputs[0].shape, &slope});
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    MapPairs(plan, inputs[0].As<T>().data(), inputs[1].As<T>().data(), outputs[0].As<T>().data(),
             [](T x, T s) { return x < T{0} ? static_cast<T>(x * s) : x; });
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> LowerPRelu(LoweringContext& context) {
  const Shape& slope = context.input_shape(1);
  if (SlopeShape(context.input_shape(0), slope) != slope) return false;
  return LowerBinary(context, BinaryOp::kParametricRelu);
}

constexpr Operator Custom(absl::string_view type, graph::InferFn infer,
                          graph::ReferenceFn reference, LowerFn lower = nullptr) {
  const int inputs = infer == InferPRelu ? 2 : 1;
  return {.schema = {.type = type,
                     .min_inputs = inputs,
                     .max_inputs = inputs,
                     .infer = infer,
                     .reference = reference},
          .lower = lower};
}

constexpr AlphaBeta kLeak{.alpha = 0.01f}, kOne{.alpha = 1};
constexpr AlphaBeta kHardSigmoidDefaults{.alpha = 0.2f, .beta = 0.5f};

constexpr std::array kOperators = {
    NumericUnary<kRelu>("Relu", LowerActivation<>),
    FloatUnary<kLeakyRelu, kLeak>("LeakyRelu", LowerActivation<kLeak>),
    FloatUnary<kThresholdedRelu, kOne>("ThresholdedRelu"),
    FloatUnary<kElu, kOne>("Elu", LowerActivation<kOne>),
    FloatUnary<kCelu, kOne>("Celu"),
    FloatUnary<kSigmoid>("Sigmoid", LowerActivation<>),
    FloatUnary<kHardSigmoid, kHardSigmoidDefaults>("HardSigmoid",
                                                   LowerActivation<kHardSigmoidDefaults>),
    FloatUnary<kHardSwish>("HardSwish", LowerActivation<>),
    FloatUnary<kSwish, kOne>("Swish", LowerActivation<kOne>),
    FloatUnary<kMish>("Mish", LowerActivation<>),
    FloatUnary<kTanh>("Tanh", LowerActivation<>),
    VectorUnary<VectorSoftplus>("Softplus"),
    FloatUnary<kSoftsign>("Softsign"),
    Custom("Gelu", InferFloatUnary, Gelu, LowerGelu),
    Custom("Selu", InferFloatUnary, Selu),
    Custom("Shrink", InferNumericUnary, Shrink),
    Custom("PRelu", InferPRelu, PRelu, LowerPRelu),
};

}  // namespace

std::span<const Operator> activations() { return kOperators; }

}  // namespace octet::kernels::ops
