// DeformConv: a convolution whose taps are moved by offsets that the network computes, and weighted
// by a mask; between elements it interpolates bilinearly. Images of two dimensions.

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kWeight = 1, kOffset = 2, kBias = 3, kMask = 4;

struct Geometry : ConvGeometry {
  int64_t offset_groups = 1;  // of input channels that share offsets
};

absl::StatusOr<Geometry> ReadGeometry(const graph::Node& node, const Shape& input,
                                      const Shape& weight) {
  if (input.size() != 4) {
    return absl::UnimplementedError(
        absl::StrCat("deformable convolution of an input ", ToText(input)));
  }
  Geometry geometry;
  OCTET_ASSIGN_OR_RETURN(static_cast<ConvGeometry&>(geometry),
                         ReadConvGeometry(node, input, weight));
  geometry.offset_groups = node.Int("offset_group", 1);
  if (geometry.offset_groups < 1 || input[1] % geometry.offset_groups != 0) {
    return absl::InvalidArgumentError(absl::StrCat(input[1], " channels do not split into ",
                                                   geometry.offset_groups, " offset groups"));
  }
  return geometry;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
  }
  const Shape& input = context.shape(kInput);
  const Shape& weight = context.shape(kWeight);
  OCTET_ASSIGN_OR_RETURN(const Geometry geometry, ReadGeometry(context.node(), input, weight));
  const int64_t taps = geometry.offset_groups * geometry.Taps();
  const Shape offset = geometry.OutputShape(input[0], 2 * taps);
  const Shape mask = geometry.OutputShape(input[0], taps);
  if (context.shape(kOffset) != offset ||
      (context.has_input(kMask) && context.shape(kMask) != mask) ||
      (context.has_input(kBias) && context.shape(kBias) != Shape{weight[0]})) {
    return absl::InvalidArgumentError(absl::StrCat("offsets ", ToText(context.shape(kOffset)),
                                                   ", expected ", ToText(offset),
                                                   "; or the mask or the bias do not fit"));
  }
  return std::vector<TensorType>{{.shape = geometry.OutputShape(input[0], weight[0])}};
}

// Between the four neighbours; outside the plane everything is zero.
float Sample(const float* plane, int64_t height, int64_t width, float y, float x) {
  if (!(y > -1 && x > -1 && y < static_cast<float>(height) && x < static_cast<float>(width))) {
    return 0;
  }
  const auto top = static_cast<int64_t>(std::floor(y)), left = static_cast<int64_t>(std::floor(x));
  const float down = y - static_cast<float>(top), right = x - static_cast<float>(left);
  const auto at = [&](int64_t row, int64_t column) {
    const bool inside = row >= 0 && column >= 0 && row < height && column < width;
    return inside ? plane[row * width + column] : 0.0f;
  };
  return (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1)) +
         down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1));
}

struct Operands {
  const float* input;  // of one sample, like offsets and mask
  const float* offsets;
  const float* mask;  // may be null
};

// What every tap of every channel reads for output element `p`: [channels, taps].
void SampleTaps(const Geometry& geometry, const Operands& operands, int64_t channels, int64_t p,
                std::vector<float>& samples) {
  const int64_t taps = geometry.Taps(), plane = geometry.OutputPlane();
  const int64_t height = geometry.input[0], width = geometry.input[1];
  const int64_t first_y = p / geometry.output[1] * geometry.strides[0] - geometry.pads_begin[0];
  const int64_t first_x = p % geometry.output[1] * geometry.strides[1] - geometry.pads_begin[1];
  const int64_t group_channels = channels / geometry.offset_groups;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t tap = c / group_channels * taps + t;
      const int64_t tap_y = first_y + t / geometry.kernel[1] * geometry.dilations[0];
      const int64_t tap_x = first_x + t % geometry.kernel[1] * geometry.dilations[1];
      const float y = static_cast<float>(tap_y) + operands.offsets[2 * tap * plane + p];
      const float x = static_cast<float>(tap_x) + operands.offsets[(2 * tap + 1) * plane + p];
      const float weight = operands.mask == nullptr ? 1.0f : operands.mask[tap * plane + p];
      samples[c * taps + t] =
          weight * Sample(operands.input + c * height * width, height, width, y, x);
    }
  }
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  const ConstTensorView& w = inputs[kWeight];
  OCTET_ASSIGN_OR_RETURN(const Geometry geometry, ReadGeometry(node, x.shape, w.shape));
  const auto has = [&](size_t input) { return inputs.size() > input && inputs[input].present(); };
  const int64_t channels = x.shape[1], out_channels = w.shape[0], plane = geometry.OutputPlane();
  const int64_t depth = w.shape[1] * geometry.Taps();
  const int64_t group_outputs = out_channels / geometry.groups;
  const int64_t offsets = geometry.offset_groups * geometry.Taps() * plane;
  std::vector<float> samples(static_cast<size_t>(channels * geometry.Taps()));
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    const Operands operands = {
        .input = x.As<float>().data() + n * channels * geometry.InputPlane(),
        .offsets = inputs[kOffset].As<float>().data() + n * 2 * offsets,
        .mask = has(kMask) ? inputs[kMask].As<float>().data() + n * offsets : nullptr};
    for (int64_t p = 0; p < plane; ++p) {
      SampleTaps(geometry, operands, channels, p, samples);
      for (int64_t o = 0; o < out_channels; ++o) {
        const float* const taps = samples.data() + o / group_outputs * depth;
        const float* const weights = w.As<float>().data() + o * depth;
        double sum = has(kBias) ? inputs[kBias].As<float>()[o] : 0.0;
        for (int64_t k = 0; k < depth; ++k) sum += double{taps[k]} * weights[k];
        outputs[0].As<float>()[(n * out_channels + o) * plane + p] = static_cast<float>(sum);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "DeformConv",
                .since_version = 19,
                .min_inputs = 3,
                .max_inputs = 5,
                .infer = Infer,
                .reference = Reference}},
};

}  // namespace

std::span<const Operator> deform_conv() { return kOperators; }

}  // namespace octet::kernels::ops
