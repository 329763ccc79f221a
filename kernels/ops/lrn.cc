// LRN: local response normalization across channels.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

struct Response {
  int64_t size = 0;  // channels that are summed over
  float alpha = 0, beta = 0, bias = 0;
};

Response ReadResponse(const graph::Node& node) {
  return {.size = node.Int("size", 0),
          .alpha = node.Float("alpha", 1e-4f),
          .beta = node.Float("beta", 0.75f),
          .bias = node.Float("bias", 1)};
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  const int64_t size = ReadResponse(context.node()).size;
  if (size < 1) return absl::InvalidArgumentError(absl::StrCat("attribute size = ", size));
  if (context.rank(0) < 2) return absl::InvalidArgumentError("the input has no channels");
  return SameAsInput(context);
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const Response response = ReadResponse(node);
  const Shape& shape = inputs[0].shape;
  const int64_t channels = shape[1];
  const int64_t plane = ElementCount(Shape(shape.begin() + 2, shape.end()));
  std::vector<double> sum(static_cast<size_t>(plane));
  for (int64_t i = 0; i < shape[0] * channels; ++i) {
    const int64_t c = i % channels;
    const float* const sample = inputs[0].As<float>().data() + (i - c) * plane;
    const int64_t first = std::max<int64_t>(0, c - (response.size - 1) / 2);
    const int64_t last =
        c > channels - 1 - response.size / 2 ? channels - 1 : c + response.size / 2;
    std::fill(sum.begin(), sum.end(), 0);
    for (int64_t other = first; other <= last; ++other) {
      const float* const x = sample + other * plane;
      for (int64_t p = 0; p < plane; ++p) sum[p] += double{x[p]} * x[p];
    }
    float* const y = outputs[0].As<float>().data() + i * plane;
    for (int64_t p = 0; p < plane; ++p) {
      const double base =
          response.bias + response.alpha / static_cast<double>(response.size) * sum[p];
      y[p] = static_cast<float>(sample[c * plane + p] / std::pow(base, double{response.beta}));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const Response response = ReadResponse(context.node());
  const std::optional<dnnl::memory::desc> native = context.NativeDesc(0);
  // oneDNN's window is symmetric, and it has kernels for images.
  constexpr size_t kImage = 4;
  if (!native || response.size % 2 == 0 || context.input_shape(0).size() != kImage) return false;
  const dnnl::lrn_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::lrn_across_channels, *native,
      *native, response.size, response.alpha, response.beta, response.bias, BaseAttributes(),
      /*allow_empty=*/true);
  if (!desc) return false;
  PrimitiveCall call(context);
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, *native));
  call.Input(DNNL_ARG_SRC, source, *native);
  call.Output(DNNL_ARG_DST, context.OutputInLayout(0, *native), *native);
  call.Emit(dnnl::lrn_forward(desc), desc);
  return true;
}

constexpr Operator kOperators[] = {
    {.schema =
         {.type = "LRN", .min_inputs = 1, .max_inputs = 1, .infer = Infer, .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> lrn() { return kOperators; }

}  // namespace octet::kernels::ops
