#include "runtime/local_noise.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/rewrite.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using quant::Precision;

// The layer once more, under another name, for nobody but the one who looks at the outputs.
NodeId AddTwin(NodeId layer, Graph& graph) {
  graph::Node twin = graph.node(layer);
  const graph::Value& result = graph.value(twin.outputs[0]);
  const graph::TensorType type = result.type;
  const std::string name = absl::StrCat(result.name, ".alone");
  twin.name = absl::StrCat(twin.name, ".alone");
  const ValueId output = graph.AddValue(name, type);
  twin.outputs = {output};
  const NodeId id = graph.AddNode(std::move(twin));
  graph.AddOutput(output, name, type.dtype);
  return id;
}

struct Power {
  double signal = 0, noise = 0;

  void Add(std::span<const float> exact, std::span<const float> other) {
    for (size_t i = 0; i < exact.size(); ++i) {
      const double error = double{exact[i]} - other[i];
      if (!std::isfinite(error)) continue;
      signal += double{exact[i]} * exact[i];
      noise += error * error;
    }
  }
};

}  // namespace

absl::StatusOr<std::vector<double>> LocalNoise(const Graph& graph, std::span<const NodeId> layers,
                                               const std::vector<Precision>& precisions,
                                               const LayerWeights& weights,
                                               const std::string& algorithm,
                                               ActivationRanges& ranges, Samples samples) {
  Graph with_twins = graph;
  quant::LayerPrecisions quantized;
  std::vector<size_t> measured;  // indices in `layers`
  std::vector<ValueId> values;   // of each of these, the exact result and its twin's
  for (size_t i = 0; i < layers.size(); ++i) {
    if (precisions[i] == Precision::kFloat32) continue;
    const NodeId twin = AddTwin(layers[i], with_twins);
    quantized[twin] = precisions[i];
    measured.push_back(i);
    values.push_back(graph.node(layers[i]).outputs[0]);
    values.push_back(with_twins.node(twin).outputs[0]);
  }
  OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, quant::Select(with_twins, quantized));
  std::vector<quant::ValueQuantizer> quantizers;
  if (selection.quantizer_count > 0) {
    OCTET_ASSIGN_OR_RETURN(quantizers, ranges.Quantizers(selection, algorithm));
  }
  OCTET_ASSIGN_OR_RETURN(const Graph rewritten,
                         quant::Rewrite(with_twins, selection, quantizers, weights.eight_bits(),
                                        weights.four_bits(), weights.bfloat16()));
  std::vector<Power> powers(measured.size());
  kernels::WeightCache cache(graph.tensor_file());
  std::vector<Tensor> waiting(measured.size());  // whichever of two is made first
  const auto add = [&](size_t v, const ConstTensorView& value) -> absl::Status {
    const size_t i = v / 2;
    if (!waiting[i].has_bytes()) {
      OCTET_ASSIGN_OR_RETURN(waiting[i], Tensor::Copy(value));
      return absl::OkStatus();
    }
    const Tensor first = std::exchange(waiting[i], Tensor());
    const auto one = first.As<float>(), other = value.As<float>();
    const bool twin_came_first = v % 2 == 0;
    powers[i].Add(twin_came_first ? other : one, twin_came_first ? one : other);
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(VisitValues(rewritten, values, samples, cache, add));
  std::vector<double> noise(layers.size(), 0);
  for (size_t i = 0; i < powers.size(); ++i) {
    noise[measured[i]] = powers[i].signal > 0 ? powers[i].noise / powers[i].signal : 0;
  }
  return noise;
}

}  // namespace octet::runtime
