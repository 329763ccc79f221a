#include "graph/passes/channels.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/match.h"

namespace octet::graph {
namespace {

constexpr int kWeight = 1, kBias = 2;

bool IsLinear(const Node& node) {
  if (!node.fused.empty() || !node.HasInput(0) || !node.HasInput(kWeight)) return false;
  if (node.op == "Gemm") return node.Float("alpha", 1) == 1 && node.Float("beta", 1) == 1;
  return node.op == "Conv" || node.op == "ConvTranspose" || node.op == "MatMul";
}

bool HasFoldableBias(const Graph& graph, const Node& node, int64_t channels) {
  if (!node.HasInput(kBias)) return true;
  const Tensor* bias = FloatConstant(graph, node.inputs[kBias]);
  if (bias == nullptr) return false;
  if (bias->size() == 1) return true;
  return bias->size() == channels && bias->shape().back() == channels;
}

}  // namespace

std::optional<WeightChannels> WeightChannels::OfConvolution(const Node& node,
                                                            const Tensor& weight) {
  const Shape& shape = weight.shape();
  const int64_t groups = node.Int("group", 1);
  if (shape.size() < 3 || groups < 1 || shape[0] % groups != 0) return std::nullopt;
  const int64_t taps = weight.size() / (shape[0] * shape[1]);
  const int64_t rows = shape[0] / groups, columns = shape[1];
  const Place row{taps * columns, rows, rows}, column{taps, columns, columns};
  const bool transposed = node.op == "ConvTranspose";
  WeightChannels result;
  result.group_stride_ = rows * columns * taps;
  result.output_ = transposed ? column : row;
  result.input_ = transposed ? row : column;
  result.outputs_ = transposed ? columns * groups : shape[0];
  result.inputs_ = transposed ? shape[0] : columns * groups;
  result.result_from_end_ = shape.size() - 2;
  result.source_from_end_ = shape.size() - 2;
  return result;
}

std::optional<WeightChannels> WeightChannels::OfProduct(const Node& node, const Tensor& weight) {
  const Shape& shape = weight.shape();
  if (shape.size() != 2) return std::nullopt;
  const bool transposed = node.op == "Gemm" && node.Int("transB", 0) != 0;
  const Place row{shape[1], shape[0]}, column{1, shape[1]};
  WeightChannels result;
  result.group_stride_ = weight.size();
  result.output_ = transposed ? row : column;
  result.input_ = transposed ? column : row;
  result.outputs_ = result.output_.size;
  result.inputs_ = result.input_.size;
  if (node.op == "MatMul" || node.Int("transA", 0) == 0) result.source_from_end_ = 0;
  return result;
}

std::optional<WeightChannels> WeightChannels::Of(const Graph& graph, const Node& node) {
  if (!IsLinear(node) || !IsFloat(graph, node.inputs[0])) return std::nullopt;
  const Tensor* weight = FloatConstant(graph, node.inputs[kWeight]);
  if (weight == nullptr || weight->size() == 0) return std::nullopt;
  const bool convolution = node.op == "Conv" || node.op == "ConvTranspose";
  const std::optional<WeightChannels> result =
      convolution ? OfConvolution(node, *weight) : OfProduct(node, *weight);
  if (!result || !HasFoldableBias(graph, node, result->outputs_)) return std::nullopt;
  return result;
}

std::optional<std::vector<float>> PerChannel(const Graph& graph, ValueId constant, ValueId value,
                                             size_t channel_from_end, int64_t channels) {
  const Tensor* tensor = FloatConstant(graph, constant);
  if (tensor == nullptr || !KeepsShape(graph, value, constant)) return std::nullopt;
  const std::span<const float> elements = tensor->As<float>();
  if (elements.size() == 1) {
    return std::vector<float>(static_cast<size_t>(channels), elements[0]);
  }
  const Shape& shape = tensor->shape();
  const bool along = shape.size() > channel_from_end && tensor->size() == channels &&
                     shape[shape.size() - 1 - channel_from_end] == channels;
  if (!along) return std::nullopt;
  return std::vector<float>(elements.begin(), elements.end());
}

absl::Status ScaleWeights(Graph& graph, NodeId id, const WeightChannels& channels,
                          std::span<const float> outputs, std::span<const float> inputs) {
  const Tensor weight = *graph.value(graph.node(id).inputs[kWeight]).constant;
  OCTET_ASSIGN_OR_RETURN(Tensor scaled, Tensor::Allocate(DataType::kFloat32, weight.shape()));
  const std::span<const float> from = weight.As<float>();
  const std::span<float> to = scaled.MutableAs<float>();
  const auto run = static_cast<size_t>(inputs.empty() ? channels.output_run() : channels.run());
  for (size_t at = 0; at < to.size(); at += run) {
    const auto element = static_cast<int64_t>(at);
    const float output = outputs.empty() ? 1 : outputs[channels.OutputOf(element)];
    const float input = inputs.empty() ? 1 : inputs[channels.InputOf(element)];
    for (size_t i = at; i < at + run; ++i) to[i] = from[i] * output * input;
  }
  weight.DropPages();
  const std::string name = absl::StrCat(graph.node(id).name, ".weight");
  graph.SetInput(id, kWeight, graph.AddConstant(name, std::move(scaled)));
  return absl::OkStatus();
}

absl::Status ChangeBias(Graph& graph, NodeId id, const WeightChannels& channels,
                        std::span<const float> scales, std::span<const float> shifts) {
  OCTET_ASSIGN_OR_RETURN(Tensor bias, Tensor::Allocate(DataType::kFloat32, {channels.outputs()}));
  const std::span<float> to = bias.MutableAs<float>();
  const Node& node = graph.node(id);
  std::span<const float> old;
  if (node.HasInput(kBias)) old = graph.value(node.inputs[kBias]).constant->As<float>();
  for (size_t c = 0; c < to.size(); ++c) {
    if (!old.empty()) to[c] = old[old.size() == 1 ? 0 : c];
    if (!scales.empty()) to[c] *= scales[c];
    if (!shifts.empty()) to[c] += shifts[c];
  }
  const std::string name = absl::StrCat(node.name, ".bias");
  graph.SetInput(id, kBias, graph.AddConstant(name, std::move(bias)));
  return absl::OkStatus();
}

}  // namespace octet::graph
