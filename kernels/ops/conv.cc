// Conv. The fast forms are in kernels/convolution.h.

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/convolution.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kWeight = 1, kBias = 2;

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(
      const ConvGeometry geometry,
      ReadConvGeometry(context.node(), context.shape(kInput), context.shape(kWeight)));
  for (int i = 0; i < context.input_count(); ++i) {
    if (i == kWeight && IsBFloat16Weight(context, i)) continue;
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
  }
  const int64_t channels = context.shape(kWeight)[0];
  if (context.has_input(kBias) && ElementCount(context.shape(kBias)) != channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bias has shape ", ToText(context.shape(kBias)), ", expected [", channels, "]"));
  }
  return std::vector<TensorType>{
      {.shape = geometry.OutputShape(context.shape(kInput)[0], channels)}};
}

// Of `channels` planes, one after the other, the taps that `sources` names.
double WindowSum(const float* planes, int64_t plane, int64_t channels, const float* kernel,
                 const std::vector<int64_t>& sources) {
  double sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (const int64_t source : sources) {
      if (source >= 0) sum += double{planes[c * plane + source]} * *kernel;
      ++kernel;
    }
  }
  return sum;
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
        const double bias = has_bias ? inputs[kBias].As<float>()[o] : 0.0;
        const int64_t first = n * x.shape[1] + o / group_outputs * group_inputs;
        const double sum = WindowSum(from.data() + first * in_plane, in_plane, group_inputs,
                                     weights.data() + o * group_inputs * geometry.Taps(), sources);
        to[(n * out_channels + o) * out_plane + p] = static_cast<float>(bias + sum);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Conv",
                .min_inputs = 2,
                .max_inputs = 3,
                .quant = graph::QuantRole::kCompute,
                .infer = Infer,
                .reference = Reference},
     .lower = LowerConvolution},
};

}  // namespace

std::span<const Operator> conv() { return kOperators; }

}  // namespace octet::kernels::ops
