#include "runtime/served_ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/status.h"
#include "graph/infer.h"
#include "runtime/equalize_layers.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;

bool IsLayer(const graph::Node& node) {
  return node.inputs.size() >= 2 && (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul");
}

template <typename T>
void SetLimits(const graph::QuantParams& params, ServedRange& range) {
  const auto at = [&](T code) {
    return params.scales[0] * static_cast<float>(static_cast<int>(code) - params.zero_points[0]);
  };
  range.low = at(std::numeric_limits<T>::lowest());
  range.high = at(std::numeric_limits<T>::max());
}

// The first dimension of every value, for a batch of this many rows.
absl::StatusOr<std::vector<int64_t>> FirstDimensions(const Graph& graph,
                                                     std::span<const Shape> example_shapes,
                                                     int64_t rows) {
  OCTET_ASSIGN_OR_RETURN(const graph::Inference inference,
                         graph::Infer(graph, graph::WithFirstDim(example_shapes, rows)));
  std::vector<int64_t> dimensions;
  dimensions.reserve(inference.types.size());
  for (const graph::TensorType& type : inference.types) {
    dimensions.push_back(type.shape.empty() ? 0 : type.shape[0]);
  }
  return dimensions;
}

}  // namespace

ServedRanges RangesOf(const Graph& quantized, std::vector<SmoothedActivation> smoothing,
                      const QuantizeReport& report) {
  const std::vector<std::string>& done = report.transforms;
  ServedRanges served{.equalized = std::find(done.begin(), done.end(), kEqualization) != done.end(),
                      .smoothing = std::move(smoothing)};
  std::set<ValueId> seen;
  for (const graph::NodeId id : quantized.Nodes()) {
    const graph::Node& node = quantized.node(id);
    if (!IsLayer(node)) continue;
    ValueId value = node.inputs[0];
    const graph::TensorType type = quantized.value(value).type;
    if (!type.quant || type.quant->scales.size() != 1) continue;
    const auto producer = quantized.value(value).producer;
    if (producer && quantized.node(*producer).op == "octet.Quantize") {
      value = quantized.node(*producer).inputs[0];
    }
    if (!seen.insert(value).second) continue;
    ServedRange range{.value = value, .layer = node.name};
    if (type.dtype == DataType::kUint8) {
      SetLimits<uint8_t>(*type.quant, range);
    } else if (type.dtype == DataType::kInt8) {
      SetLimits<int8_t>(*type.quant, range);
    } else {
      continue;
    }
    served.ranges.push_back(std::move(range));
  }
  return served;
}

absl::Status WatchRanges(const ServedRanges& ranges, bool batchable,
                         std::span<const Shape> example_shapes, Graph& graph,
                         std::vector<TensorSpec>& outputs) {
  if (ranges.equalized) OCTET_RETURN_IF_ERROR(EqualizeConvolutions(graph).status());
  OCTET_RETURN_IF_ERROR(SmoothAsBefore(graph, ranges.smoothing));
  std::vector<int64_t> one, two;
  if (batchable) {
    OCTET_ASSIGN_OR_RETURN(one, FirstDimensions(graph, example_shapes, 1));
    OCTET_ASSIGN_OR_RETURN(two, FirstDimensions(graph, example_shapes, 2));
  }
  for (const ServedRange& range : ranges.ranges) {
    const auto index = static_cast<size_t>(range.value);
    if (index >= graph.value_count()) continue;
    if (batchable && (one[index] != 1 || two[index] != 2)) continue;
    const graph::Value& value = graph.value(range.value);
    if (value.type.dtype != DataType::kFloat32 || value.constant) continue;
    outputs.push_back({range.layer, DataType::kFloat32, value.type.shape});
    graph.AddOutput(range.value, range.layer, DataType::kFloat32);
  }
  return absl::OkStatus();
}

double ClippedShare(std::span<const float> values, const ServedRange& range) {
  size_t finite = 0, clipped = 0;
  // Half a step beyond the last code is rounded, not clipped.
  const float half_step = (range.high - range.low) / 510;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    ++finite;
    if (value < range.low - half_step || value > range.high + half_step) ++clipped;
  }
  return finite == 0 ? 0 : static_cast<double>(clipped) / static_cast<double>(finite);
}

}  // namespace octet::runtime
