#include "kernels/unary.h"

#include "base/status.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels {

AlphaBeta ReadAlphaBeta(const graph::Node& node, AlphaBeta defaults) {
  return {.alpha = node.Float("alpha", defaults.alpha), .beta = node.Float("beta", defaults.beta)};
}

absl::StatusOr<std::vector<TensorType>> InferFloatUnary(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  return SameAsInput(context);
}

absl::StatusOr<std::vector<TensorType>> InferNumericUnary(const InferContext& context) {
  if (context.input(0).dtype == DataType::kBool) {
    return absl::InvalidArgumentError("input 0 must be numbers, not BOOL");
  }
  return SameAsInput(context);
}

absl::StatusOr<bool> LowerEltwise(LoweringContext& context, const graph::FusedOp& op) {
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

}  // namespace octet::kernels
