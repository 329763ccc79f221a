#include "runtime/correct_biases.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/affine.h"
#include "quant/bias_correction.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using quant::Precision;

constexpr size_t kBias = 2;  // index among the inputs of a layer

// Elements that lie side by side; in lanes, which compilers make vectors of.
template <typename T, typename Wide>
Wide SumOf(std::span<const T> elements, Wide sum) {
  constexpr size_t kLanes = 16;
  const size_t whole = elements.size() / kLanes * kLanes;
  std::array<Wide, kLanes> sums{};
  for (size_t at = 0; at < whole; at += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += elements[at + lane];
  }
  for (const T element : elements.subspan(whole)) sum += element;
  return std::accumulate(sums.begin(), sums.end(), sum);
}

template <typename T, typename Wide>
void AddChannels(std::span<const T> elements, const quant::ChannelLayout& layout,
                 std::span<Wide> sums) {
  const auto inner = static_cast<size_t>(layout.inner);
  for (size_t at = 0; at < elements.size();) {
    for (Wide& sum : sums) {
      sum = inner == 1 ? sum + elements[at] : SumOf(elements.subspan(at, inner), sum);
      at += inner;
    }
  }
}

// The mean of every channel of a layer's input, as it is and as codes stand for it.
class ChannelMeans {
 public:
  // Without a quantizer both are the same.
  explicit ChannelMeans(std::optional<quant::Affine> quantizer) : quantizer_(quantizer) {}

  // `axis` is the channels' dimension.
  absl::Status Add(const ConstTensorView& input, int axis) {
    OCTET_ASSIGN_OR_RETURN(const quant::ChannelLayout layout,
                           quant::LayoutAlong(input.shape, axis));
    const std::span<const float> values = input.As<float>();
    exact_.resize(static_cast<size_t>(layout.channels));
    AddChannels(values, layout, std::span(exact_));
    count_ += layout.channel_size();
    if (!quantizer_) return absl::OkStatus();
    std::vector<uint8_t> codes(values.size());
    quant::Quantize(values, *quantizer_, quant::kAsymmetricUint8, std::span(codes));
    codes_.resize(exact_.size());
    AddChannels(std::span<const uint8_t>(codes), layout, std::span(codes_));
    return absl::OkStatus();
  }

  std::vector<float> Exact() const {
    std::vector<float> means;
    means.reserve(exact_.size());
    for (const double sum : exact_) means.push_back(static_cast<float>(sum / Count()));
    return means;
  }

  std::vector<float> Quantized() const {
    if (!quantizer_) return Exact();
    std::vector<float> means;
    means.reserve(codes_.size());
    for (const int64_t sum : codes_) {
      const double code = static_cast<double>(sum) / Count() - quantizer_->zero_point;
      means.push_back(static_cast<float>(quantizer_->scale * code));
    }
    return means;
  }

 private:
  double Count() const { return static_cast<double>(std::max<int64_t>(count_, 1)); }

  std::optional<quant::Affine> quantizer_;
  std::vector<double> exact_;   // sums, by channel
  std::vector<int64_t> codes_;  // likewise; with a quantizer
  int64_t count_ = 0;           // of each channel
};

bool HasChangeableBias(const Graph& graph, const graph::Node& layer, int64_t channels) {
  if (!layer.HasInput(kBias)) return true;
  const auto& bias = graph.value(layer.inputs[kBias]).constant;
  return bias && bias->dtype() == DataType::kFloat32 && bias->size() == channels;
}

std::optional<quant::Affine> QuantizerOf(const quant::Selection& selection,
                                         const std::vector<quant::ValueQuantizer>& quantizers,
                                         ValueId value, Precision precision) {
  const int index = selection.quantizer[static_cast<size_t>(value)];
  const bool is_static = precision == Precision::kInt8 || precision == Precision::kInt4;
  if (!is_static || index < 0) return std::nullopt;
  const graph::QuantParams& params = quantizers[static_cast<size_t>(index)].params;
  return quant::Affine{params.scales[0], params.zero_points[0]};
}

absl::StatusOr<quant::BiasCorrection> CorrectLayer(const Graph& graph, const graph::Node& layer,
                                                   const quant::QuantizedWeights& quantized,
                                                   const ChannelMeans& means) {
  const Tensor& weight = *graph.value(layer.inputs[1]).constant;
  const int axis = quant::WeightAxis(layer, weight.shape());
  OCTET_ASSIGN_OR_RETURN(const quant::WeightRows exact, quant::RowsOf(weight.view(), axis));
  OCTET_ASSIGN_OR_RETURN(const Tensor values,
                         quant::DequantizeTensor(quantized.codes.view(), quantized.params));
  OCTET_ASSIGN_OR_RETURN(const quant::WeightRows rounded, quant::RowsOf(values.view(), axis));
  std::vector<float> bias;
  if (layer.HasInput(kBias)) {
    const auto old = graph.value(layer.inputs[kBias]).constant->As<float>();
    bias.assign(old.begin(), old.end());
  }
  const std::vector<float> mean = means.Exact(), quantized_mean = means.Quantized();
  const bool convolution = layer.op == "Conv";
  return quant::CorrectBias({.weights = exact,
                             .quantized = rounded.values,
                             .mean = mean,
                             .quantized_mean = quantized_mean,
                             .bias = bias,
                             .groups = convolution ? layer.Int("group", 1) : 1,
                             .positions = convolution ? exact.columns / weight.shape()[1] : 1});
}

}  // namespace

absl::StatusOr<BiasCorrections> CorrectBiases(const Graph& graph, const quant::Selection& selection,
                                              const std::vector<quant::ValueQuantizer>& quantizers,
                                              const quant::WeightsById& weights, Samples samples,
                                              Resources resources) {
  std::vector<NodeId> layers;
  std::vector<ValueId> inputs;
  std::vector<ChannelMeans> means;
  for (const auto& [id, precision] : selection.layers) {
    const graph::Node& layer = graph.node(id);
    const Shape& weight = graph.value(layer.inputs[1]).type.shape;
    const int64_t channels = weight[static_cast<size_t>(quant::WeightAxis(layer, weight))];
    if (!IsInt8(precision) || !HasChangeableBias(graph, layer, channels)) continue;
    layers.push_back(id);
    inputs.push_back(layer.inputs[0]);
    means.emplace_back(QuantizerOf(selection, quantizers, layer.inputs[0], precision));
  }
  OCTET_RETURN_IF_ERROR(VisitValues(graph, inputs, samples, resources,
                                    [&](size_t i, const ConstTensorView& input) -> absl::Status {
                                      const bool convolution = graph.node(layers[i]).op == "Conv";
                                      return means[i].Add(input,
                                                          convolution ? 1 : input.rank() - 1);
                                    }));
  BiasCorrections result;
  for (size_t i = 0; i < layers.size(); ++i) {
    const graph::Node& layer = graph.node(layers[i]);
    const uint64_t weight = graph.value(layer.inputs[1]).constant->id();
    absl::StatusOr<quant::BiasCorrection> corrected =
        CorrectLayer(graph, layer, weights.at(weight), means[i]);
    graph.value(layer.inputs[1]).constant->DropPages();
    weights.at(weight).codes.DropPages();
    if (!corrected.ok()) return Annotate(corrected.status(), absl::StrCat("bias of ", layer.name));
    if (!corrected->trusted()) {
      result.rejected.push_back(layer.name);
      continue;
    }
    const Shape shape = layer.HasInput(kBias) ? graph.value(layer.inputs[kBias]).type.shape
                                              : Shape{static_cast<int64_t>(corrected->bias.size())};
    if (quant::HasFourBitWeights(selection.layers.at(layers[i])))
      result.four_bits.insert(layers[i]);
    result.biases.emplace(layers[i], Tensor::Of<float>(shape, corrected->bias));
  }
  return result;
}

void ApplyBiases(const BiasCorrections& corrections, const quant::Selection& selection,
                 Graph& quantized) {
  for (const auto& [id, bias] : corrections.biases) {
    const Precision precision = selection.layers.at(id);
    if (!IsInt8(precision)) continue;
    if (quant::HasFourBitWeights(precision) != corrections.four_bits.contains(id)) continue;
    quantized.SetInput(
        id, kBias,
        quantized.AddConstant(absl::StrCat(quantized.node(id).name, ".corrected_bias"), bias));
  }
  quantized.RemoveDeadNodes();
}

}  // namespace octet::runtime
