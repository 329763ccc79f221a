#include "kernels/post_ops.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::kernels {
namespace {

using dnnl::algorithm;

dnnl::memory::data_type DnnlType(DataType type) {
  switch (type) {
    case DataType::kInt8:
      return dnnl::memory::data_type::s8;
    case DataType::kUint8:
      return dnnl::memory::data_type::u8;
    default:
      return dnnl::memory::data_type::f32;
  }
}

// The operand of a binary post-op, broadcast against an output of rank `rank` by ONNX's rules.
dnnl::memory::desc BroadcastDesc(const Shape& shape, size_t rank) {
  Shape padded(rank - shape.size(), 1);
  padded.insert(padded.end(), shape.begin(), shape.end());
  return *PlainDesc({.dtype = DataType::kFloat32, .shape = padded});
}

}  // namespace

std::optional<Eltwise> EltwiseOf(const graph::FusedOp& fused) {
  struct Row {
    absl::string_view op;
    algorithm kind;
    float alpha, beta;
    bool own_alpha;  // alpha and beta come from the node
  };
  static constexpr auto kRows = std::to_array<Row>({
      {"Relu", algorithm::eltwise_relu, 0, 0, false},
      {"LeakyRelu", algorithm::eltwise_relu, 0, 0, true},
      {"Clip", algorithm::eltwise_clip_v2, 0, 0, true},
      {"HardSwish", algorithm::eltwise_hardswish, 1.0f / 6, 0.5f, false},
      {"HardSigmoid", algorithm::eltwise_hardsigmoid, 0, 0, true},
      {"Sigmoid", algorithm::eltwise_logistic, 0, 0, false},
      {"Tanh", algorithm::eltwise_tanh, 0, 0, false},
      {"Gelu", algorithm::eltwise_gelu_erf, 0, 0, false},
      {"GeluTanh", algorithm::eltwise_gelu_tanh, 0, 0, false},
      {"Swish", algorithm::eltwise_swish, 0, 0, true},
      {"Mish", algorithm::eltwise_mish, 0, 0, false},
      {"Elu", algorithm::eltwise_elu, 0, 0, true},
      {"Abs", algorithm::eltwise_abs, 0, 0, false},
      {"Sqrt", algorithm::eltwise_sqrt, 0, 0, false},
      {"Square", algorithm::eltwise_square, 0, 0, false},
      {"Exp", algorithm::eltwise_exp, 0, 0, false},
      {"Log", algorithm::eltwise_log, 0, 0, false},
      {"Softplus", algorithm::eltwise_soft_relu, 1, 0, false},
  });
  for (const Row& row : kRows) {
    if (row.op != fused.op) continue;
    return row.own_alpha ? Eltwise{row.kind, fused.alpha, fused.beta}
                         : Eltwise{row.kind, row.alpha, row.beta};
  }
  return std::nullopt;
}

absl::Status FusedChain::Append(LoweringContext& context, dnnl::primitive_attr& attributes) {
  dnnl::post_ops chain;
  const graph::TensorType& output = context.output_type(0);
  for (const graph::FusedOp& fused : context.node().fused) {
    if (const std::optional<Eltwise> eltwise = EltwiseOf(fused)) {
      chain.append_eltwise(eltwise->algorithm, eltwise->alpha, eltwise->beta);
      continue;
    }
    if (fused.op != "Add" && fused.op != "Mul") {
      return absl::UnimplementedError(absl::StrCat("cannot fuse ", fused.op));
    }
    const graph::TensorType& operand = context.input_type(fused.input);
    if (fused.op == "Add" && operand.quant) {
      chain.append_sum(operand.quant->scales[0], operand.quant->zero_points[0],
                       DnnlType(operand.dtype));
      summed_input_ = fused.input;
      continue;
    }
    binary_.push_back({chain.len(), fused.input});
    const bool whole = operand.shape == output.shape;
    dnnl::memory::desc desc = BroadcastDesc(operand.shape, output.shape.size());
    if (whole) {
      desc = dnnl::memory::desc(desc.get_dims(), dnnl::memory::data_type::f32,
                                dnnl::memory::format_tag::any);
    }
    chain.append_binary(fused.op == "Add" ? algorithm::binary_add : algorithm::binary_mul, desc);
  }
  attributes.set_post_ops(chain);
  return absl::OkStatus();
}

absl::StatusOr<int> FusedChain::BindOutput(LoweringContext& context,
                                           const dnnl::primitive_desc_base& primitive,
                                           const dnnl::memory::desc& desc, PrimitiveCall& call) {
  for (const BinaryOperand& operand : binary_) {
    const int argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(operand.post_op) | DNNL_ARG_SRC_1;
    const dnnl::memory::desc wanted = primitive.query_md(dnnl::query::exec_arg_md, argument);
    const bool whole = context.input_type(operand.input).shape == context.output_type(0).shape;
    OCTET_ASSIGN_OR_RETURN(const int buffer, whole ? context.InLayout(operand.input, wanted)
                                                   : context.Plain(operand.input));
    call.Input(argument, buffer, wanted);
  }
  if (!summed_input_) return context.OutputInLayout(0, desc);
  // Sum reads the residual's codes where the result will be written; the two may be u8 and s8.
  const graph::TensorType& residual = context.input_type(*summed_input_);
  dnnl::memory::desc residual_desc(desc.get_dims(), DnnlType(residual.dtype),
                                   desc.get_strides());
  OCTET_ASSIGN_OR_RETURN(const int buffer,
                         context.OutputOverInput(0, *summed_input_, residual_desc));
  if (residual_desc == desc) return buffer;
  return buffer;
}

}  // namespace octet::kernels
