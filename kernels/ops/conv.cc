// Conv: oneDNN's convolution, in float32 or int8.
//
// float32 lets oneDNN choose blocked layouts; int8 runs channels-last, where its kernels are.

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/window.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kWeight = 1, kBias = 2;

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(
      const ConvGeometry geometry,
      ReadConvGeometry(context.node(), context.shape(kInput), context.shape(kWeight)));
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
  }
  const int64_t channels = context.shape(kWeight)[0];
  if (context.has_input(kBias) && ElementCount(context.shape(kBias)) != channels) {
    return absl::InvalidArgumentError(absl::StrCat("the bias has shape ",
                                                   ToText(context.shape(kBias)), ", expected [",
                                                   channels, "]"));
  }
  return std::vector<TensorType>{{.shape = geometry.OutputShape(context.shape(kInput)[0], channels)}};
}

// One output element at a time, straight from the definition.
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  const ConstTensorView& w = inputs[kWeight];
  OCTET_ASSIGN_OR_RETURN(const ConvGeometry geometry, ReadConvGeometry(node, x.shape, w.shape));
  const auto from = x.As<float>();
  const auto weights = w.As<float>();
  const auto to = outputs[0].As<float>();
  const bool has_bias = inputs.size() > kBias && inputs[kBias].present();
  const int64_t out_channels = w.shape[0], group_inputs = w.shape[1];
  const int64_t group_outputs = out_channels / geometry.groups;
  const int64_t in_plane = geometry.InputPlane(), out_plane = geometry.OutputPlane();
  std::vector<int64_t> sources(static_cast<size_t>(geometry.Taps()));
  for (int64_t p = 0; p < out_plane; ++p) {
    geometry.SourcesOf(p, sources);
    for (int64_t n = 0; n < x.shape[0]; ++n) {
      for (int64_t o = 0; o < out_channels; ++o) {
        double sum = has_bias ? inputs[kBias].As<float>()[o] : 0.0;
        for (int64_t c = 0; c < group_inputs; ++c) {
          const int64_t channel = o / group_outputs * group_inputs + c;
          const float* plane = from.data() + (n * x.shape[1] + channel) * in_plane;
          const float* kernel =
              weights.data() + (o * group_inputs + c) * static_cast<int64_t>(sources.size());
          for (size_t t = 0; t < sources.size(); ++t) {
            if (sources[t] >= 0) sum += double{plane[sources[t]]} * kernel[t];
          }
        }
        to[(n * out_channels + o) * out_plane + p] = static_cast<float>(sum);
      }
    }
  }
  return absl::OkStatus();
}

dnnl::memory::dims Dims(const Shape& shape) { return {shape.begin(), shape.end()}; }

// Weights as oneDNN wants them: with the groups as a dimension of their own.
dnnl::memory::dims WeightDims(const Shape& shape, int64_t groups) {
  dnnl::memory::dims dims = Dims(shape);
  if (groups == 1) return dims;
  dims[0] /= groups;
  dims.insert(dims.begin(), groups);
  return dims;
}

// Dense with the channels innermost.
dnnl::memory::desc ChannelsLast(const Shape& shape, dnnl::memory::data_type type) {
  dnnl::memory::dims strides(shape.size());
  int64_t stride = shape[1];
  for (size_t d = shape.size() - 1; d >= 2; --d) {
    strides[d] = stride;
    stride *= shape[d];
  }
  strides[1] = 1;
  strides[0] = stride;
  return {Dims(shape), type, strides};
}

dnnl::memory::data_type TypeOf(const TensorType& type) {
  if (!type.quant) return dnnl::memory::data_type::f32;
  return type.dtype == DataType::kUint8 ? dnnl::memory::data_type::u8
                                        : dnnl::memory::data_type::s8;
}

struct Plan {
  ConvGeometry geometry;
  dnnl::memory::desc source, weights, bias, destination;
  dnnl::primitive_attr attributes;
};

void SetQuantization(LoweringContext& context, Plan& plan) {
  const TensorType& input = context.input_type(kInput);
  const TensorType& weight = context.input_type(kWeight);
  const TensorType& output = context.output_type(0);
  plan.attributes.set_scales_mask(DNNL_ARG_SRC, 0);
  if (input.quant->zero_points[0] != 0) plan.attributes.set_zero_points_mask(DNNL_ARG_SRC, 0);
  const int mask = !weight.quant->axis ? 0 : plan.geometry.groups > 1 ? 3 : 1;
  plan.attributes.set_scales_mask(DNNL_ARG_WEIGHTS, mask);
  if (!output.quant) return;
  plan.attributes.set_scales_mask(DNNL_ARG_DST, 0);
  if (output.quant->zero_points[0] != 0) plan.attributes.set_zero_points_mask(DNNL_ARG_DST, 0);
}

void BindQuantization(LoweringContext& context, PrimitiveCall& call) {
  const graph::QuantParams& input = *context.input_type(kInput).quant;
  call.Scales(DNNL_ARG_SRC, input.scales);
  if (input.zero_points[0] != 0) call.ZeroPoint(DNNL_ARG_SRC, input.zero_points[0]);
  call.Scales(DNNL_ARG_WEIGHTS, context.input_type(kWeight).quant->scales);
  const auto& output = context.output_type(0).quant;
  if (!output) return;
  call.Scales(DNNL_ARG_DST, output->scales);
  if (output->zero_points[0] != 0) call.ZeroPoint(DNNL_ARG_DST, output->zero_points[0]);
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  using dnnl::memory;
  const TensorType& input = context.input_type(kInput);
  const TensorType& weight = context.input_type(kWeight);
  const bool int8 = input.quant.has_value() && weight.quant.has_value();
  if (!context.is_constant(kWeight) || PlainDesc(input) == std::nullopt) return false;
  Plan plan{.attributes = BaseAttributes()};
  OCTET_ASSIGN_OR_RETURN(plan.geometry,
                         ReadConvGeometry(context.node(), input.shape, weight.shape));
  const ConvGeometry& geometry = plan.geometry;
  const auto any = memory::format_tag::any;
  plan.source = int8 ? ChannelsLast(input.shape, TypeOf(input))
                     : memory::desc(Dims(input.shape), memory::data_type::f32, any);
  plan.weights = memory::desc(WeightDims(weight.shape, geometry.groups), TypeOf(weight), any);
  plan.destination =
      int8 ? ChannelsLast(context.output_shape(0), TypeOf(context.output_type(0)))
           : memory::desc(Dims(context.output_shape(0)), memory::data_type::f32, any);
  const bool has_bias = context.has_input(kBias);
  if (has_bias) {
    plan.bias = memory::desc({weight.shape[0]}, memory::data_type::f32, memory::format_tag::x);
  }
  if (int8) SetQuantization(context, plan);
  FusedChain chain;
  OCTET_RETURN_IF_ERROR(chain.Append(context, plan.attributes));

  const dnnl::convolution_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
      plan.source, plan.weights, plan.bias, plan.destination, geometry.strides,
      geometry.DnnlDilations(), geometry.pads_begin, geometry.DnnlPadsEnd(),
      plan.attributes);
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(kInput, desc.src_desc()));
  TensorType grouped = weight;
  const memory::dims weight_dims = WeightDims(weight.shape, geometry.groups);
  grouped.shape.assign(weight_dims.begin(), weight_dims.end());
  OCTET_ASSIGN_OR_RETURN(
      const int weights, context.PackedWeight(kWeight, *PlainDesc(grouped), desc.weights_desc()));
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_SRC, source, desc.src_desc());
  call.Input(DNNL_ARG_WEIGHTS, weights, desc.weights_desc());
  if (has_bias) {
    OCTET_ASSIGN_OR_RETURN(const int bias, context.Plain(kBias));
    call.Input(DNNL_ARG_BIAS, bias, plan.bias);
  }
  if (int8) BindQuantization(context, call);
  OCTET_ASSIGN_OR_RETURN(const int destination,
                         chain.BindOutput(context, desc, desc.dst_desc(), call));
  call.Output(DNNL_ARG_DST, destination, desc.dst_desc());
  const int64_t macs =
      ElementCount(context.output_shape(0)) * (ElementCount(weight.shape) / weight.shape[0]);
  call.Emit(dnnl::convolution_forward(desc), desc, {.macs = macs, .int8 = int8});
  return true;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Conv",
                .min_inputs = 2,
                .max_inputs = 3,
                .quant = graph::QuantRole::kCompute,
                .infer = Infer,
                .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> conv() { return kOperators; }

}  // namespace octet::kernels::ops
