// Elementwise operators of one floating-point input.

#include <array>
#include <cmath>

#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

// y = function(x) on the element type of the input.
template <auto kFunction>
absl::Status Map(const graph::Node& node, std::span<const ConstTensorView> inputs,
                 std::span<TensorView> outputs) {
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const auto from = inputs[0].As<T>();
    const auto to = outputs[0].As<T>();
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<T>(kFunction(node, from[i]));
    return absl::OkStatus();
  });
}

// oneDNN keeps any layout, so the layout that the producer chose goes on to the consumer.
absl::StatusOr<bool> LowerEltwise(LoweringContext& context) {
  graph::FusedOp op{.op = context.node().op,
                    .alpha = context.node().Float("alpha", 0.01f),
                    .beta = context.node().Float("beta", 0.5f)};
  const std::optional<Eltwise> eltwise = EltwiseOf(op);
  const std::optional<dnnl::memory::desc> desc = context.NativeDesc(0);
  if (!eltwise || !desc || context.input_type(0).dtype != DataType::kFloat32) return false;
  const dnnl::eltwise_forward::primitive_desc primitive(
      Engine(), dnnl::prop_kind::forward_inference, eltwise->algorithm, *desc, *desc,
      eltwise->alpha, eltwise->beta, BaseAttributes());
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, *desc));
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_SRC, source, *desc);
  call.Output(DNNL_ARG_DST, context.OutputInLayout(0, *desc), *desc);
  call.Emit(dnnl::eltwise_forward(primitive), primitive);
  return true;
}

template <auto kFunction>
constexpr Operator Unary(absl::string_view type, LowerFn lower = nullptr) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = SameAsInput,
                     .reference = Map<kFunction>},
          .lower = lower};
}

constexpr auto kRelu = [](const graph::Node&, auto x) { return x > 0 ? x : decltype(x){0}; };
constexpr auto kSigmoid = [](const graph::Node&, auto x) { return 1 / (1 + std::exp(-x)); };
constexpr auto kTanh = [](const graph::Node&, auto x) { return std::tanh(x); };

constexpr std::array kOperators = {
    Unary<kRelu>("Relu", LowerEltwise),
    Unary<kSigmoid>("Sigmoid", LowerEltwise),
    Unary<kTanh>("Tanh", LowerEltwise),
};

}  // namespace

std::span<const Operator> elementwise() { return kOperators; }

}  // namespace octet::kernels::ops
