// LayerNormalization and RMSNormalization: over all dimensions from `axis` on.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/moments.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kScale = 1, kShift = 2;

struct Rows {
  int axis = 0;
  int64_t count = 1, length = 1;
};

absl::StatusOr<Rows> ReadRows(const graph::Node& node, const Shape& shape) {
  const int rank = static_cast<int>(shape.size());
  Rows rows;
  OCTET_ASSIGN_OR_RETURN(rows.axis, NormalizeAxis(node.Int("axis", -1), rank));
  for (int d = 0; d < rank; ++d) (d < rows.axis ? rows.count : rows.length) *= shape[d];
  return rows;
}

absl::Status CheckParameter(const InferContext& context, int input, const Shape& normalized) {
  if (!context.has_input(input)) return absl::OkStatus();
  OCTET_RETURN_IF_ERROR(ExpectType(context, input, DataType::kFloat32));
  OCTET_ASSIGN_OR_RETURN(const Shape both, BroadcastShapes(context.shape(input), normalized));
  if (both == normalized) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("input ", input, " has shape ", ToText(context.shape(input)),
                   ", which does not broadcast to ", ToText(normalized)));
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kInput, DataType::kFloat32));
  const Shape& shape = context.shape(kInput);
  OCTET_ASSIGN_OR_RETURN(const Rows rows, ReadRows(context.node(), shape));
  const Shape normalized(shape.begin() + rows.axis, shape.end());
  OCTET_RETURN_IF_ERROR(CheckParameter(context, kScale, normalized));
  OCTET_RETURN_IF_ERROR(CheckParameter(context, kShift, normalized));
  Shape reduced = shape;
  std::fill(reduced.begin() + rows.axis, reduced.end(), 1);
  return std::vector<TensorType>{{.shape = shape}, {.shape = reduced}, {.shape = reduced}};
}

// The parameter for every element of a row.
std::vector<float> Expanded(const ConstTensorView& parameter, const Shape& normalized) {
  const std::span<const float> from = parameter.As<float>();
  std::vector<float> result(static_cast<size_t>(ElementCount(normalized)));
  Shape dims(normalized.size() - parameter.shape.size(), 1);
  dims.insert(dims.end(), parameter.shape.begin(), parameter.shape.end());
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), at = 0, stride = 1;
    for (size_t d = dims.size(); d-- > 0;) {
      if (dims[d] != 1) at += rest % normalized[d] * stride;
      rest /= normalized[d];
      stride *= dims[d];
    }
    result[i] = from[static_cast<size_t>(at)];
  }
  return result;
}

template <bool kCentered>
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  OCTET_ASSIGN_OR_RETURN(const Rows rows, ReadRows(node, x.shape));
  if (x.size() == 0) return absl::OkStatus();
  const Shape normalized(x.shape.begin() + rows.axis, x.shape.end());
  const auto parameter = [&](size_t input) {
    return inputs.size() > input && inputs[input].present() ? Expanded(inputs[input], normalized)
                                                            : std::vector<float>();
  };
  const std::vector<float> scale = parameter(kScale), shift = parameter(kShift);
  const float epsilon = node.Float("epsilon", 1e-5f);
  const bool wants_mean = outputs.size() > 1 && outputs[1].present();
  const bool wants_factor = outputs.size() > 2 && outputs[2].present();
  for (int64_t row = 0; row < rows.count; ++row) {
    const auto from = x.As<float>().subspan(row * rows.length, rows.length);
    const Moments moments =
        kCentered ? MomentsOf(from) : Moments{.mean = 0, .variance = MeanOfSquares(from)};
    const float factor = 1 / std::sqrt(moments.variance + epsilon);
    NormalizeElements(from, moments.mean, factor, scale.data(),
                      shift.empty() ? nullptr : shift.data(),
                      outputs[0].As<float>().data() + row * rows.length);
    if (wants_mean) outputs[1].As<float>()[row] = moments.mean;
    if (wants_factor) outputs[2].As<float>()[row] = factor;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  using dnnl::memory;
  using dnnl::normalization_flags;
  const Shape& shape = context.input_shape(kInput);
  if (!PlainDesc(context.input_type(kInput)) || context.has_output(1) || context.has_output(2)) {
    return false;
  }
  OCTET_ASSIGN_OR_RETURN(const Rows rows, ReadRows(context.node(), shape));
  if (ElementCount(context.input_shape(kScale)) != rows.length) return false;
  const bool shifts = context.has_input(kShift);
  if (shifts && ElementCount(context.input_shape(kShift)) != rows.length) return false;
  const memory::desc plain({rows.count, rows.length}, memory::data_type::f32,
                           memory::format_tag::ab);
  const memory::desc parameter({rows.length}, memory::data_type::f32, memory::format_tag::a);
  const auto flags = shifts ? normalization_flags::use_scale | normalization_flags::use_shift
                            : normalization_flags::use_scale;
  const dnnl::layer_normalization_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference, plain, plain,
      context.node().Float("epsilon", 1e-5f), flags, BaseAttributes());
  PrimitiveCall call(context);
  OCTET_ASSIGN_OR_RETURN(const int source, context.Plain(kInput));
  call.Input(DNNL_ARG_SRC, source, plain);
  OCTET_ASSIGN_OR_RETURN(const int scale, context.Plain(kScale));
  call.Input(DNNL_ARG_SCALE, scale, parameter);
  if (shifts) {
    OCTET_ASSIGN_OR_RETURN(const int shift, context.Plain(kShift));
    call.Input(DNNL_ARG_SHIFT, shift, parameter);
  }
  call.Output(DNNL_ARG_DST, context.PlainOutput(0), plain);
  call.Emit(dnnl::layer_normalization_forward(desc), desc);
  return true;
}

constexpr Operator kOperators[] = {
    // ONNX has it from opset 17, but ONNX Runtime's optimizers write it into older models too.
    {.schema = {.type = "LayerNormalization",
                .min_inputs = 2,
                .max_inputs = 3,
                .infer = Infer,
                .reference = Reference<true>},
     .lower = Lower},
    {.schema = {.type = "RMSNormalization",
                .since_version = 23,
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = Infer,
                .reference = Reference<false>}},
};

}  // namespace

std::span<const Operator> layer_norm() { return kOperators; }

}  // namespace octet::kernels::ops
