#include "kernels/quantization_attributes.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::kernels {
namespace {

absl::Status CheckActivation(const graph::TensorType& type) {
  if (!type.quant->axis) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("an activation of type ", graph::ToText(type),
                                               ", expected one scale for the whole tensor"));
}

bool HasZeroPoint(const graph::TensorType& type) { return type.quant->zero_points[0] != 0; }

}  // namespace

absl::Status CheckQuantizedWeights(const graph::TensorType& weights) {
  const auto& zero_points = weights.quant->zero_points;
  const bool zero = std::all_of(zero_points.begin(), zero_points.end(),
                                [](int32_t zero_point) { return zero_point == 0; });
  if (weights.dtype == DataType::kInt8 && zero) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("weights of type ", graph::ToText(weights),
                                               ", expected INT8 with zero points of 0"));
}

absl::Status SetQuantization(const QuantizedOperands& operands, dnnl::primitive_attr& attributes) {
  OCTET_RETURN_IF_ERROR(CheckQuantizedWeights(operands.weights));
  attributes.set_scales_mask(DNNL_ARG_SRC, 0);
  attributes.set_scales_mask(DNNL_ARG_WEIGHTS, operands.weights_mask);
  if (operands.source != nullptr) OCTET_RETURN_IF_ERROR(CheckActivation(*operands.source));
  if (operands.source == nullptr || HasZeroPoint(*operands.source)) {
    attributes.set_zero_points_mask(DNNL_ARG_SRC, 0);
  }
  return SetResultQuantization(operands.destination, attributes);
}

void BindQuantization(const QuantizedOperands& operands, PrimitiveCall& call) {
  if (operands.source != nullptr) {
    call.Scales(DNNL_ARG_SRC, operands.source->quant->scales);
    if (HasZeroPoint(*operands.source)) {
      call.ZeroPoint(DNNL_ARG_SRC, operands.source->quant->zero_points[0]);
    }
  }
  std::vector<float> scales = operands.weights.quant->scales;
  for (float& scale : scales) scale *= operands.weights_factor;
  call.Scales(DNNL_ARG_WEIGHTS, scales);
  BindResultQuantization(operands.destination, call);
}

absl::Status SetResultQuantization(const graph::TensorType& result,
                                   dnnl::primitive_attr& attributes) {
  if (!result.quant) return absl::OkStatus();
  OCTET_RETURN_IF_ERROR(CheckActivation(result));
  attributes.set_scales_mask(DNNL_ARG_DST, 0);
  if (HasZeroPoint(result)) attributes.set_zero_points_mask(DNNL_ARG_DST, 0);
  return absl::OkStatus();
}

void BindResultQuantization(const graph::TensorType& result, PrimitiveCall& call) {
  if (!result.quant) return;
  call.Scales(DNNL_ARG_DST, result.quant->scales);
  if (HasZeroPoint(result)) call.ZeroPoint(DNNL_ARG_DST, result.quant->zero_points[0]);
}

}  // namespace octet::kernels
