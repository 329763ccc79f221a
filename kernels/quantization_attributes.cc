#include "kernels/quantization_attributes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace octet::kernels {

dnnl::memory::data_type StorageType(const graph::TensorType& type) {
  switch (type.dtype) {
    case DataType::kUint8:
      return dnnl::memory::data_type::u8;
    case DataType::kInt8:
      return dnnl::memory::data_type::s8;
    default:
      return dnnl::memory::data_type::f32;
  }
}

absl::Status SetQuantization(const QuantizedOperands& operands, dnnl::primitive_attr& attributes) {
  const graph::TensorType& source = operands.source;
  const graph::TensorType& weights = operands.weights;
  const graph::TensorType& destination = operands.destination;
  const auto& zero_points = weights.quant->zero_points;
  if (weights.dtype != DataType::kInt8 ||
      std::any_of(zero_points.begin(), zero_points.end(), [](int32_t z) { return z != 0; })) {
    return absl::UnimplementedError(absl::StrCat(
        "the weights are ", Name(weights.dtype), ", expected INT8 with zero points of 0"));
  }
  if (source.quant->axis || (destination.quant && destination.quant->axis)) {
    return absl::UnimplementedError("activations must have one scale for the whole tensor");
  }
  attributes.set_scales_mask(DNNL_ARG_SRC, 0);
  if (source.quant->zero_points[0] != 0) attributes.set_zero_points_mask(DNNL_ARG_SRC, 0);
  attributes.set_scales_mask(DNNL_ARG_WEIGHTS, operands.weights_mask);
  if (!destination.quant) return absl::OkStatus();
  attributes.set_scales_mask(DNNL_ARG_DST, 0);
  if (destination.quant->zero_points[0] != 0) attributes.set_zero_points_mask(DNNL_ARG_DST, 0);
  return absl::OkStatus();
}

void BindQuantization(const QuantizedOperands& operands, PrimitiveCall& call) {
  const graph::QuantParams& source = *operands.source.quant;
  call.Scales(DNNL_ARG_SRC, source.scales);
  if (source.zero_points[0] != 0) call.ZeroPoint(DNNL_ARG_SRC, source.zero_points[0]);
  std::vector<float> scales = operands.weights.quant->scales;
  for (float& scale : scales) scale *= operands.weights_factor;
  call.Scales(DNNL_ARG_WEIGHTS, scales);
  const auto& destination = operands.destination.quant;
  if (!destination) return;
  call.Scales(DNNL_ARG_DST, destination->scales);
  if (destination->zero_points[0] != 0) {
    call.ZeroPoint(DNNL_ARG_DST, destination->zero_points[0]);
  }
}

}  // namespace octet::kernels
