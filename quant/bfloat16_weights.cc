#include "quant/bfloat16_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::quant {

absl::StatusOr<Tensor> ToBFloat16(const ConstTensorView& weights) {
  if (weights.dtype != DataType::kFloat32) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected float32 weights, got ", Name(weights.dtype)));
  }
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kBFloat16, weights.shape));
  const auto from = weights.As<float>();
  const auto to = result.MutableAs<uint16_t>();
  for (size_t i = 0; i < from.size(); ++i) to[i] = FloatToBFloat16(from[i]);
  return result;
}

absl::Status RoundWeights(const graph::Graph& graph, const LayerPrecisions& layers,
                          BFloat16ById& rounded) {
  for (const auto& [layer, precision] : layers) {
    if (precision != Precision::kBFloat16) continue;
    const Tensor& weight = *graph.value(graph.node(layer).inputs[1]).constant;
    if (rounded.contains(weight.id())) continue;
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, ToBFloat16(weight.view()));
    weight.DropPages();
    rounded.emplace(weight.id(), graph.Hold(std::move(tensor)));
  }
  return absl::OkStatus();
}

}  // namespace octet::quant
