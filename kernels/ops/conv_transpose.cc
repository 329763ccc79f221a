// ConvTranspose: oneDNN's deconvolution. It is the convolution that maps the output to the input,
// read backwards, so its geometry is that convolution's window.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "kernels/dispatch_gate.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kWeight = 1, kBias = 2;
constexpr int64_t kMaxExtent = int64_t{1} << 31;

// `input` of the window is the operator's output and `output` its input.
struct Geometry : Window {
  int64_t groups = 1;
  int64_t channels = 0;  // of the result
};

absl::StatusOr<std::vector<int64_t>> ReadInts(const graph::Node& node, absl::string_view key,
                                              size_t count, int64_t fallback, int64_t lowest) {
  std::vector<int64_t> values = node.Ints(key);
  if (values.empty()) values.assign(count, fallback);
  const bool in_range = std::all_of(values.begin(), values.end(), [&](int64_t value) {
    return value >= lowest && value < kMaxExtent;
  });
  if (values.size() == count && in_range) return values;
  return absl::InvalidArgumentError(absl::StrCat("attribute ", key, " = [",
                                                 absl::StrJoin(values, ","), "], expected ", count,
                                                 " values of at least ", lowest));
}

// Splits what is cut off between the two ends; the odd element is cut at the beginning, or at the
// end with SAME_UPPER.
void SplitPadding(Geometry& geometry, size_t d, int64_t total, bool upper) {
  geometry.pads_begin[d] = upper ? total / 2 : total - total / 2;
  geometry.pads_end[d] = total - geometry.pads_begin[d];
}

absl::Status ReadSizes(const graph::Node& node, Geometry& geometry) {
  const size_t rank = geometry.kernel.size();
  OCTET_ASSIGN_OR_RETURN(const auto output_padding, ReadInts(node, "output_padding", rank, 0, 0));
  OCTET_ASSIGN_OR_RETURN(const auto pads, ReadInts(node, "pads", 2 * rank, 0, 0));
  OCTET_ASSIGN_OR_RETURN(const auto wanted, ReadInts(node, "output_shape", rank, 0, 0));
  const bool has_shape = node.Has("output_shape");
  const std::string mode = node.String("auto_pad", "NOTSET");
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && mode != "VALID" && mode != "NOTSET") {
    return absl::InvalidArgumentError(absl::StrCat("attribute auto_pad = ", mode));
  }
  for (size_t d = 0; d < rank; ++d) {
    const int64_t extent = (geometry.kernel[d] - 1) * geometry.dilations[d] + 1;
    const int64_t reach =
        (geometry.output[d] - 1) * geometry.strides[d] + extent + output_padding[d];
    if (has_shape || same) {
      const int64_t size = has_shape ? wanted[d] : geometry.output[d] * geometry.strides[d];
      SplitPadding(geometry, d, std::max<int64_t>(0, reach - size), mode == "SAME_UPPER");
      geometry.input.push_back(size);
    } else {
      const bool padded = mode == "NOTSET";
      geometry.pads_begin[d] = padded ? pads[d] : 0;
      geometry.pads_end[d] = padded ? pads[rank + d] : 0;
      geometry.input.push_back(reach - geometry.pads_begin[d] - geometry.pads_end[d]);
    }
    if (geometry.input[d] < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("an output of size ", geometry.input[d], " in spatial dimension ", d));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Geometry> ReadGeometry(const graph::Node& node, const Shape& input,
                                      const Shape& weight) {
  Geometry geometry;
  geometry.groups = node.Int("group", 1);
  if (weight.size() < 3 || weight.size() != input.size() || geometry.groups < 1 ||
      weight[0] != input[1] || input[1] % geometry.groups != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the input ", ToText(input), ", the weights ",
                                                   ToText(weight), " and ", geometry.groups,
                                                   " groups do not fit together"));
  }
  if (__builtin_mul_overflow(weight[1], geometry.groups, &geometry.channels)) {
    return absl::InvalidArgumentError(absl::StrCat(geometry.groups, " groups"));
  }
  geometry.kernel.assign(weight.begin() + 2, weight.end());
  geometry.output.assign(input.begin() + 2, input.end());
  const size_t rank = geometry.kernel.size();
  for (const auto* sizes : {&geometry.kernel, &geometry.output}) {
    for (const int64_t size : *sizes) {
      if (size < 1 || size >= kMaxExtent) {
        return absl::InvalidArgumentError(absl::StrCat("a dimension of size ", size));
      }
    }
  }
  OCTET_ASSIGN_OR_RETURN(geometry.strides, ReadInts(node, "strides", rank, 1, 1));
  OCTET_ASSIGN_OR_RETURN(geometry.dilations, ReadInts(node, "dilations", rank, 1, 1));
  geometry.pads_begin.assign(rank, 0);
  geometry.pads_end.assign(rank, 0);
  OCTET_RETURN_IF_ERROR(ReadSizes(node, geometry));
  return geometry;
}

Shape ResultShape(const Geometry& geometry, int64_t batch) {
  Shape shape = {batch, geometry.channels};
  shape.insert(shape.end(), geometry.input.begin(), geometry.input.end());
  return shape;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
  }
  OCTET_ASSIGN_OR_RETURN(
      const Geometry geometry,
      ReadGeometry(context.node(), context.shape(kInput), context.shape(kWeight)));
  if (context.has_input(kBias) && ElementCount(context.shape(kBias)) != geometry.channels) {
    return absl::InvalidArgumentError(absl::StrCat("the bias has shape ",
                                                   ToText(context.shape(kBias)), ", expected [",
                                                   geometry.channels, "]"));
  }
  return std::vector<TensorType>{{.shape = ResultShape(geometry, context.shape(kInput)[0])}};
}

// Every input element is added to the outputs under its window.
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  const ConstTensorView& w = inputs[kWeight];
  OCTET_ASSIGN_OR_RETURN(const Geometry geometry, ReadGeometry(node, x.shape, w.shape));
  const std::span<float> y = outputs[0].As<float>();
  const int64_t in_plane = geometry.OutputPlane(), out_plane = geometry.InputPlane();
  const int64_t taps = geometry.Taps(), in_channels = x.shape[1], group_outputs = w.shape[1];
  const int64_t group_inputs = in_channels / geometry.groups;
  const bool has_bias = inputs.size() > kBias && inputs[kBias].present();
  for (size_t i = 0; i < y.size(); ++i) {
    const auto channel = static_cast<int64_t>(i) / out_plane % geometry.channels;
    y[i] = has_bias ? inputs[kBias].As<float>()[channel] : 0.0f;
  }
  std::vector<int64_t> targets(static_cast<size_t>(taps));
  for (int64_t p = 0; p < in_plane; ++p) {
    geometry.SourcesOf(p, targets);
    for (int64_t i = 0; i < x.shape[0] * in_channels; ++i) {
      const int64_t c = i % in_channels, n = i / in_channels;
      const float value = x.As<float>()[i * in_plane + p];
      for (int64_t o = 0; o < group_outputs; ++o) {
        const float* const kernel = w.As<float>().data() + (c * group_outputs + o) * taps;
        const int64_t channel = c / group_inputs * group_outputs + o;
        float* const plane = y.data() + (n * geometry.channels + channel) * out_plane;
        for (int64_t t = 0; t < taps; ++t) {
          if (targets[t] >= 0) plane[targets[t]] += value * kernel[t];
        }
      }
    }
  }
  return absl::OkStatus();
}

// ONNX's weights [inputs, outputs / groups, ...] with oneDNN's dimensions: outputs before inputs,
// groups as a dimension of their own.
dnnl::memory::desc WeightsAsStored(const Shape& weight, int64_t groups) {
  const int64_t taps = ElementCount(Shape(weight.begin() + 2, weight.end()));
  dnnl::memory::dims dims = {weight[1], weight[0] / groups};
  dnnl::memory::dims strides = {taps, weight[1] * taps};
  if (groups > 1) {
    dims.insert(dims.begin(), groups);
    strides.insert(strides.begin(), weight[0] / groups * weight[1] * taps);
  }
  int64_t stride = taps;
  for (size_t d = 2; d < weight.size(); ++d) {
    stride /= weight[d];
    dims.push_back(weight[d]);
    strides.push_back(stride);
  }
  return {dims, dnnl::memory::data_type::f32, strides};
}

absl::StatusOr<int> Weights(LoweringContext& context, const dnnl::memory::desc& stored,
                            const dnnl::memory::desc& wanted) {
  if (context.is_constant(kWeight)) return context.PackedWeight(kWeight, stored, wanted);
  OCTET_ASSIGN_OR_RETURN(const int plain, context.Plain(kWeight));
  const dnnl::reorder::primitive_desc desc(Engine(), stored, Engine(), wanted, BaseAttributes());
  const int packed = context.Temporary(wanted.get_size());
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_FROM, plain, stored);
  call.Output(DNNL_ARG_TO, packed, wanted);
  call.Emit(dnnl::reorder(desc), desc);
  return packed;
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  using dnnl::memory;
  constexpr size_t kMostDimensions = 5;
  const Shape& input = context.input_shape(kInput);
  const Shape& weight = context.input_shape(kWeight);
  if (!PlainDesc(context.input_type(kInput)) || !PlainDesc(context.input_type(kWeight)) ||
      input.size() > kMostDimensions) {
    return false;
  }
  OCTET_ASSIGN_OR_RETURN(const Geometry geometry, ReadGeometry(context.node(), input, weight));
  const Shape& output = context.output_shape(0);
  const auto free = [](const auto& dims) {
    return memory::desc({dims.begin(), dims.end()}, memory::data_type::f32,
                        memory::format_tag::any);
  };
  const memory::desc stored = WeightsAsStored(weight, geometry.groups);
  const bool has_bias = context.has_input(kBias);
  const memory::desc bias =
      has_bias ? memory::desc({geometry.channels}, memory::data_type::f32, memory::format_tag::a)
               : memory::desc();
  dnnl::primitive_attr attributes = BaseAttributes();
  FusedChain chain;
  OCTET_RETURN_IF_ERROR(chain.Append(context, attributes));
  const dnnl::deconvolution_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::deconvolution_direct,
      free(input), free(stored.get_dims()), bias, free(output), geometry.strides,
      geometry.DnnlDilations(), geometry.pads_begin, geometry.DnnlPadsEnd(), attributes,
      /*allow_empty=*/true);
  if (!desc || IsReferenceImplementation(desc.impl_info_str(), false)) {
    if (context.node().fused.empty()) return false;
    if (!desc) return absl::UnimplementedError("no kernel takes this form with fused operators");
  }
  PrimitiveCall call(context);
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(kInput, desc.src_desc()));
  call.Input(DNNL_ARG_SRC, source, desc.src_desc());
  OCTET_ASSIGN_OR_RETURN(const int weights, Weights(context, stored, desc.weights_desc()));
  call.Input(DNNL_ARG_WEIGHTS, weights, desc.weights_desc());
  if (has_bias) {
    OCTET_ASSIGN_OR_RETURN(const int buffer, context.Plain(kBias));
    call.Input(DNNL_ARG_BIAS, buffer, bias);
  }
  OCTET_ASSIGN_OR_RETURN(const int result, chain.BindOutput(context, desc, desc.dst_desc(), call));
  call.Output(DNNL_ARG_DST, result, desc.dst_desc());
  call.Emit(dnnl::deconvolution_forward(desc), desc,
            {.macs = ElementCount(input) * weight[1] * geometry.Taps()});
  return true;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "ConvTranspose",
                .min_inputs = 2,
                .max_inputs = 3,
                .infer = Infer,
                .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> conv_transpose() { return kOperators; }

}  // namespace octet::kernels::ops
