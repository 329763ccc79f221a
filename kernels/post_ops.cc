#include "kernels/post_ops.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channels_last.h"

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

// The operand's dimensions for a binary post-op on an output of rank `rank`, by ONNX's rules.
Shape Padded(const Shape& shape, size_t rank) {
  Shape padded(rank - std::min(rank, shape.size()), 1);
  padded.insert(padded.end(), shape.begin(), shape.end());
  return padded;
}

dnnl::memory::desc FloatDesc(const Shape& shape) {
  return *PlainDesc({.dtype = DataType::kFloat32, .shape = shape});
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
      {"Linear", algorithm::eltwise_linear, 0, 0, true},
      {"Softplus", algorithm::eltwise_soft_relu, 1, 0, false},
  });
  for (const Row& row : kRows) {
    if (row.op != fused.op) continue;
    return row.own_alpha ? Eltwise{row.kind, fused.alpha, fused.beta}
                         : Eltwise{row.kind, row.alpha, row.beta};
  }
  return std::nullopt;
}

Spread SpreadOf(const Shape& operand, const Shape& output) {
  if (operand == output) return Spread::kWhole;
  if (operand.size() > output.size() || output.empty()) return Spread::kOther;
  const Shape padded = Padded(operand, output.size());
  const auto is_one = [](int64_t dim) { return dim == 1; };
  if (std::all_of(padded.begin(), padded.end() - 1, is_one)) return Spread::kRow;
  const bool same_rows = std::equal(padded.begin(), padded.end() - 1, output.begin());
  return same_rows && padded.back() == 1 ? Spread::kColumn : Spread::kOther;
}

absl::Status FusedChain::AppendOperand(LoweringContext& context, const graph::FusedOp& fused,
                                       dnnl::post_ops& chain) {
  const graph::TensorType& operand = context.input_type(fused.input);
  const graph::TensorType& output = context.output_type(0);
  const Spread spread = SpreadOf(operand.shape, output.shape);
  const algorithm kind = fused.op == "Add" ? algorithm::binary_add : algorithm::binary_mul;
  if (operand.quant) {
    if (kind != algorithm::binary_add || spread != Spread::kWhole || !output.quant ||
        operand.quant->axis || summed_input_) {
      return absl::UnimplementedError(
          absl::StrCat("cannot fuse ", fused.op, " of an operand of type ", ToText(operand)));
    }
    chain.append_sum(operand.quant->scales[0], operand.quant->zero_points[0],
                     DnnlType(operand.dtype));
    summed_input_ = fused.input;
    return absl::OkStatus();
  }
  const bool plain = spread != Spread::kWhole || view_.has_value();
  binary_.push_back({chain.len(), fused.input, plain});
  if (!plain && per_sample_) {
    graph::TensorType sample = operand;
    sample.shape[0] = 1;
    chain.append_binary(kind, ChannelsLast(sample));
    return absl::OkStatus();
  }
  if (!plain) {
    const dnnl::memory::dims dims(output.shape.begin(), output.shape.end());
    const auto type = context.LiesInBFloat16(fused.input) ? dnnl::memory::data_type::bf16
                                                          : dnnl::memory::data_type::f32;
    chain.append_binary(kind, dnnl::memory::desc(dims, type, dnnl::memory::format_tag::any));
    return absl::OkStatus();
  }
  Shape dims = view_.value_or(Padded(operand.shape, output.shape.size()));
  const bool fits = view_ ? spread != Spread::kOther : !per_sample_ || dims[0] == 1;
  if (!fits) {
    return absl::UnimplementedError(absl::StrCat("cannot fuse ", fused.op, " of an operand ",
                                                 ToText(operand.shape), " into ",
                                                 ToText(output.shape)));
  }
  if (view_ && spread == Spread::kColumn) dims.back() = 1;
  if (view_ && spread == Spread::kRow) {
    std::fill(dims.begin(), dims.end() - 1, 1);
    dims.back() = operand.shape.empty() ? 1 : operand.shape.back();
  }
  chain.append_binary(kind, FloatDesc(dims));
  return absl::OkStatus();
}

absl::Status FusedChain::Append(LoweringContext& context, dnnl::primitive_attr& attributes) {
  dnnl::post_ops chain = attributes.get_post_ops();
  for (const graph::FusedOp& fused : context.node().fused) {
    if (const std::optional<Eltwise> eltwise = EltwiseOf(fused)) {
      chain.append_eltwise(eltwise->algorithm, eltwise->alpha, eltwise->beta);
    } else if (fused.op == "Add" || fused.op == "Mul") {
      OCTET_RETURN_IF_ERROR(AppendOperand(context, fused, chain));
    } else {
      return absl::UnimplementedError(absl::StrCat("cannot fuse ", fused.op));
    }
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
    if (operand.plain) {
      OCTET_ASSIGN_OR_RETURN(const int buffer, context.Plain(operand.input));
      call.Input(argument, buffer, wanted);
      continue;
    }
    const dnnl::memory::desc whole =
        per_sample_ ? ChannelsLast(context.input_type(operand.input)) : wanted;
    OCTET_ASSIGN_OR_RETURN(const int buffer, context.InLayout(operand.input, whole));
    call.Input(argument, buffer, wanted, per_sample_ ? wanted.get_size() : 0);
  }
  if (!summed_input_) return context.OutputInLayout(0, desc);
  // Sum reads the residual's codes where the result will be written; the two may be u8 and s8.
  const graph::TensorType& residual = context.input_type(*summed_input_);
  dnnl::memory::desc residual_desc(desc.get_dims(), DnnlType(residual.dtype), desc.get_strides());
  return context.OutputOverInput(0, *summed_input_, residual_desc, desc);
}

}  // namespace octet::kernels
