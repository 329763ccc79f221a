// ConvInteger and QLinearConv: convolutions of codes, exact in int32.

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/integer_operand.h"
#include "kernels/operator.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

struct Inputs {
  int input, input_zero, weight, weight_zero;
};
constexpr Inputs kConvInteger = {.input = 0, .input_zero = 2, .weight = 1, .weight_zero = 3};
constexpr Inputs kQLinearConv = {.input = 0, .input_zero = 2, .weight = 3, .weight_zero = 5};
constexpr int kInputScale = 1, kWeightScale = 4, kOutputScale = 6, kOutputZero = 7, kBias = 8;

absl::StatusOr<Shape> InferShape(const InferContext& context, const Inputs& inputs) {
  for (const int i : {inputs.input, inputs.weight, inputs.input_zero, inputs.weight_zero}) {
    OCTET_RETURN_IF_ERROR(ExpectCodes(context, i));
  }
  const Shape& input = context.shape(inputs.input);
  const Shape& weight = context.shape(inputs.weight);
  OCTET_ASSIGN_OR_RETURN(const ConvGeometry geometry,
                         ReadConvGeometry(context.node(), input, weight));
  OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.input_zero, 1));
  OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.weight_zero, weight[0]));
  return geometry.OutputShape(input[0], weight[0]);
}

absl::StatusOr<std::vector<TensorType>> InferInteger(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(Shape shape, InferShape(context, kConvInteger));
  return std::vector<TensorType>{{.dtype = DataType::kInt32, .shape = std::move(shape)}};
}

absl::StatusOr<std::vector<TensorType>> InferQLinear(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(Shape shape, InferShape(context, kQLinearConv));
  const int64_t channels = context.shape(kQLinearConv.weight)[0];
  for (const int i : {kInputScale, kWeightScale, kOutputScale}) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
    OCTET_RETURN_IF_ERROR(ExpectCount(context, i, i == kWeightScale ? channels : 1));
  }
  OCTET_RETURN_IF_ERROR(ExpectCodes(context, kOutputZero));
  OCTET_RETURN_IF_ERROR(ExpectCount(context, kOutputZero, 1));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kBias, DataType::kInt32));
  if (context.has_input(kBias) && ElementCount(context.shape(kBias)) != channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bias has shape ", ToText(context.shape(kBias)), ", expected [", channels, "]"));
  }
  return std::vector<TensorType>{
      {.dtype = context.input(kOutputZero).dtype, .shape = std::move(shape)}};
}

// Calls done(element of the result, output channel, sum) for every element.
template <typename Done>
absl::Status Convolve(const graph::Node& node, const Inputs& which,
                      std::span<const ConstTensorView> inputs, Done&& done) {
  const Shape& x_shape = inputs[which.input].shape;
  const Shape& w_shape = inputs[which.weight].shape;
  OCTET_ASSIGN_OR_RETURN(const ConvGeometry geometry, ReadConvGeometry(node, x_shape, w_shape));
  const int64_t out_channels = w_shape[0], group_inputs = w_shape[1], taps = geometry.Taps();
  const int64_t group_outputs = out_channels / geometry.groups;
  const int64_t in_plane = geometry.InputPlane(), out_plane = geometry.OutputPlane();
  const std::vector<int16_t> x =
      Centered(inputs[which.input], ZeroPoints(inputs, which.input_zero, 1), in_plane);
  const std::vector<int16_t> w =
      Centered(inputs[which.weight], ZeroPoints(inputs, which.weight_zero, out_channels),
               group_inputs * taps);
  std::vector<int64_t> sources(static_cast<size_t>(taps));
  for (int64_t p = 0; p < out_plane; ++p) {
    geometry.SourcesOf(p, sources);
    for (int64_t n = 0; n < x_shape[0]; ++n) {
      for (int64_t o = 0; o < out_channels; ++o) {
        int32_t sum = 0;
        for (int64_t c = 0; c < group_inputs; ++c) {
          const int64_t channel = o / group_outputs * group_inputs + c;
          const int16_t* const plane = x.data() + (n * x_shape[1] + channel) * in_plane;
          const int16_t* const kernel = w.data() + (o * group_inputs + c) * taps;
          for (int64_t t = 0; t < taps; ++t) {
            if (sources[t] >= 0) sum += plane[sources[t]] * kernel[t];
          }
        }
        done((n * out_channels + o) * out_plane + p, o, sum);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ReferenceInteger(const graph::Node& node, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const auto to = outputs[0].As<int32_t>();
  return Convolve(node, kConvInteger, inputs,
                  [&](int64_t at, int64_t, int32_t sum) { to[at] = sum; });
}

absl::Status ReferenceQLinear(const graph::Node& node, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const int64_t channels = inputs[kQLinearConv.weight].shape[0];
  std::vector<float> factors = Scales(inputs[kWeightScale], channels);
  for (float& factor : factors) {
    factor *= inputs[kInputScale].As<float>()[0] / inputs[kOutputScale].As<float>()[0];
  }
  const int32_t zero = ZeroPoints(inputs, kOutputZero, 1)[0];
  const std::vector<int32_t> bias = ZeroPoints(inputs, kBias, channels);
  const auto finish = [&]<typename T>(std::span<T> to) {
    return Convolve(node, kQLinearConv, inputs, [&](int64_t at, int64_t channel, int32_t sum) {
      to[at] = Requantized<T>(sum + bias[channel], factors[channel], zero);
    });
  };
  if (outputs[0].dtype == DataType::kInt8) return finish(outputs[0].As<int8_t>());
  return finish(outputs[0].As<uint8_t>());
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "ConvInteger",
                .min_inputs = 2,
                .max_inputs = 4,
                .infer = InferInteger,
                .reference = ReferenceInteger}},
    {.schema = {.type = "QLinearConv",
                .min_inputs = 8,
                .max_inputs = 9,
                .infer = InferQLinear,
                .reference = ReferenceQLinear}},
};

}  // namespace

std::span<const Operator> integer_conv() { return kOperators; }

}  // namespace octet::kernels::ops
