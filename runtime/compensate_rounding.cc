#include "runtime/compensate_rounding.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "quant/gptq.h"
#include "quant/measures.h"
#include "quant/selection.h"
#include "quant/weight_rows.h"
#include "runtime/layer_inputs.h"
#include "runtime/parallel.h"

namespace octet::runtime {
namespace {

constexpr size_t kMostSamples = 16;  // each a run

quant::WeightRows Part(const quant::WeightRows& all, int64_t first, int64_t rows) {
  const auto begin = all.values.begin() + first * all.columns;
  return {rows, all.columns, {begin, begin + rows * all.columns}};
}

// What the weights are as quantized, against what they were.
void MeasureAnew(const quant::WeightRows& exact, std::span<const int8_t> codes,
                 quant::QuantizedWeights& weights) {
  const std::vector<float>& scales = weights.params.scales;
  std::vector<float> values(codes.size());
  const auto columns = static_cast<size_t>(exact.columns);
  for (size_t i = 0; i < codes.size(); ++i) {
    values[i] = scales[scales.size() == 1 ? 0 : i / columns] * static_cast<float>(codes[i]);
  }
  weights.sqnr_db = quant::Sqnr(exact.values, values);
  const size_t length = codes.size() / scales.size();
  for (size_t i = 0; i < scales.size(); ++i) {
    weights.channel_sqnr_db[i] =
        static_cast<float>(quant::Sqnr(std::span(exact.values).subspan(i * length, length),
                                       std::span(values).subspan(i * length, length)));
  }
}

using HessiansOfGroups = std::vector<const quant::Hessian*>;

// `hessians` are of the groups of its output channels, in order.
absl::Status Round(const graph::Graph& graph, const RoundedLayer& layer,
                   const HessiansOfGroups& hessians, const RoundingOptions& options) {
  const graph::Node& node = graph.node(layer.layer);
  const Tensor& weight = *graph.value(node.inputs[1]).constant;
  const int axis = quant::WeightAxis(node, weight.shape());
  OCTET_ASSIGN_OR_RETURN(const quant::WeightRows exact, quant::RowsOf(weight.view(), axis));
  const std::span<const float> scales = layer.weights->params.scales;
  const int64_t rows = exact.rows / static_cast<int64_t>(hessians.size());
  std::vector<int8_t> codes;
  for (size_t group = 0; group < hessians.size(); ++group) {
    const int64_t first = static_cast<int64_t>(group) * rows;
    const auto of_group =
        scales.size() == 1 ? scales
                           : scales.subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
    OCTET_ASSIGN_OR_RETURN(const auto rounded, quant::RoundWithFeedback(
                                                   Part(exact, first, rows), of_group, options.grid,
                                                   *hessians[group], options.damping));
    if (!rounded) return absl::OkStatus();
    codes.insert(codes.end(), rounded->begin(), rounded->end());
  }
  weight.DropPages();
  OCTET_ASSIGN_OR_RETURN(Tensor rounded, quant::CodesLike(weight.shape(), axis, codes));
  layer.weights->codes = graph.Hold(std::move(rounded));
  MeasureAnew(exact, codes, *layer.weights);
  layer.weights->feedback = true;
  return absl::OkStatus();
}

// A layer, and what it reads.
struct Reader {
  RoundedLayer layer;
  std::vector<RowInput> inputs;  // by group
};

absl::Status RoundAll(const graph::Graph& graph, std::span<const Reader> readers,
                      const KnownHessians& hessians, const RoundingOptions& options) {
  return ParallelFor(options.threads, readers.size(), [&](size_t i) {
    HessiansOfGroups of_layer;
    for (const RowInput& input : readers[i].inputs) of_layer.push_back(&hessians.at(input));
    return Round(graph, readers[i].layer, of_layer, options);
  });
}

// What the layer reads; nothing if that is too much.
std::vector<RowInput> InputsOf(const graph::Graph& graph, graph::NodeId layer,
                               const RoundingOptions& options) {
  std::vector<RowInput> read = RowInputsOf(graph, layer);
  if (read.empty() || read[0].columns > options.most_columns) return {};
  if (HessianBytes(read) > options.hessian_bytes) return {};
  return read;
}

}  // namespace

std::vector<RowInput> InputsForRounding(const graph::Graph& graph,
                                        std::span<const graph::NodeId> layers,
                                        const RoundingOptions& options) {
  std::vector<RowInput> inputs;
  for (const graph::NodeId layer : layers) {
    inputs = Union(std::move(inputs), InputsOf(graph, layer, options));
  }
  return inputs;
}

absl::Status CompensateRounding(const graph::Graph& graph, std::span<const RoundedLayer> layers,
                                const RoundingOptions& options, Samples samples,
                                kernels::WeightCache& floats, KnownHessians known) {
  std::vector<Reader> of_known, others;
  for (const RoundedLayer& layer : layers) {
    std::vector<RowInput> read = InputsOf(graph, layer.layer, options);
    if (read.empty()) continue;
    const bool has_all =
        std::all_of(read.begin(), read.end(), [&](const auto& i) { return known.contains(i); });
    (has_all ? of_known : others).push_back({layer, std::move(read)});
  }
  // First, so that known ones and others are never in memory together.
  OCTET_RETURN_IF_ERROR(RoundAll(graph, of_known, known, options));
  known.clear();

  const std::vector<std::vector<Tensor>> some = EvenlySpaced(samples, kMostSamples);
  std::vector<Reader> readers;
  std::vector<RowInput> inputs;
  const auto finish = [&]() -> absl::Status {
    if (readers.empty()) return absl::OkStatus();
    OCTET_ASSIGN_OR_RETURN(std::vector<quant::Hessian> collected,
                           CollectHessians(graph, inputs, some, floats, options.threads));
    KnownHessians hessians;
    for (size_t i = 0; i < inputs.size(); ++i) hessians.emplace(inputs[i], std::move(collected[i]));
    OCTET_RETURN_IF_ERROR(RoundAll(graph, readers, hessians, options));
    readers.clear();
    inputs.clear();
    return absl::OkStatus();
  };
  for (Reader& reader : others) {
    std::vector<RowInput> more = Union(inputs, reader.inputs);
    if (!readers.empty() && HessianBytes(more) > options.hessian_bytes) {
      OCTET_RETURN_IF_ERROR(finish());
      more = Union({}, reader.inputs);
    }
    inputs = std::move(more);
    readers.push_back(std::move(reader));
  }
  return finish();
}

}  // namespace octet::runtime
