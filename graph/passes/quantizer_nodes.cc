#include "graph/passes/quantizer_nodes.h"

#include <cmath>

#include "base/status.h"

namespace octet::graph {
namespace {

bool IsEightBits(DataType type) { return type == DataType::kInt8 || type == DataType::kUint8; }

const Tensor* ConstantInput(const Graph& graph, const Node& node, size_t input) {
  if (!node.HasInput(input) || !graph.IsConstant(node.inputs[input])) return nullptr;
  const Value& value = graph.value(node.inputs[input]);
  return value.constant->has_bytes() && !value.type.quant ? &*value.constant : nullptr;
}

std::vector<int32_t> ToInts(const Tensor& tensor) {
  if (tensor.dtype() == DataType::kInt8) {
    const auto codes = tensor.As<int8_t>();
    return {codes.begin(), codes.end()};
  }
  const auto codes = tensor.As<uint8_t>();
  return {codes.begin(), codes.end()};
}

// Indices of the axis that the elements of one run have; runs are `inner` elements long.
struct Channels {
  int64_t count = 1, inner = 1;
};
Channels ChannelsOf(const Shape& shape, const QuantParams& params) {
  if (!params.axis) return {.count = 1, .inner = std::max<int64_t>(ElementCount(shape), 1)};
  Channels channels = {.count = shape[*params.axis]};
  for (size_t d = static_cast<size_t>(*params.axis) + 1; d < shape.size(); ++d) {
    channels.inner *= shape[d];
  }
  return channels;
}

}  // namespace

std::optional<CodeType> QuantizerOf(const Graph& graph, const Node& node) {
  const bool quantizes = node.op == "QuantizeLinear";
  if (!quantizes && node.op != "DequantizeLinear") return std::nullopt;
  const Tensor* const scales = ConstantInput(graph, node, 1);
  const Tensor* const zero_points = ConstantInput(graph, node, 2);
  if (scales == nullptr || (node.HasInput(2) && zero_points == nullptr)) return std::nullopt;
  const ValueId codes = quantizes ? node.outputs[0] : node.inputs[0];
  const Shape& shape = graph.value(node.inputs[0]).type.shape;
  CodeType result{.dtype = graph.value(codes).type.dtype};
  if (!IsEightBits(result.dtype) || scales->shape().size() > 1 || scales->size() == 0) {
    return std::nullopt;
  }
  if (scales->size() > 1) {
    const auto rank = static_cast<int64_t>(shape.size());
    int64_t axis = node.Int("axis", 1);
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || shape[static_cast<size_t>(axis)] != scales->size()) {
      return std::nullopt;
    }
    result.params.axis = static_cast<int>(axis);
  }
  for (const float scale : scales->As<float>()) {
    if (!std::isfinite(scale) || scale <= 0) return std::nullopt;
    result.params.scales.push_back(scale);
  }
  result.params.zero_points.assign(result.params.scales.size(), 0);
  if (zero_points != nullptr) result.params.zero_points = ToInts(*zero_points);
  return result;
}

absl::StatusOr<Tensor> Dequantized(const Tensor& codes, const QuantParams& params) {
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kFloat32, codes.shape()));
  const Channels channels = ChannelsOf(codes.shape(), params);
  const std::vector<int32_t> from = ToInts(codes);
  const std::span<float> to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    const auto channel =
        static_cast<size_t>(static_cast<int64_t>(i) / channels.inner % channels.count);
    to[i] = static_cast<float>(from[i] - params.zero_points[channel]) * params.scales[channel];
  }
  return result;
}

absl::StatusOr<Codes> AsInt8(const Tensor& codes, const QuantParams& params) {
  if (codes.dtype() == DataType::kInt8) return Codes{codes, params};
  constexpr int32_t kShift = 128;
  OCTET_ASSIGN_OR_RETURN(Tensor shifted, Tensor::Allocate(DataType::kInt8, codes.shape()));
  const std::span<const uint8_t> from = codes.As<uint8_t>();
  const std::span<int8_t> to = shifted.MutableAs<int8_t>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int8_t>(from[i] - kShift);
  QuantParams moved = params;
  for (int32_t& zero_point : moved.zero_points) zero_point -= kShift;
  return Codes{std::move(shifted), std::move(moved)};
}

}  // namespace octet::graph
