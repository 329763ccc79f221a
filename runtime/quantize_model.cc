#include "runtime/quantize_model.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/cpu.h"
#include "quant/range_estimator.h"
#include "quant/rewrite.h"
#include "runtime/evaluate.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using quant::Precision;

// Enough to rank and to compare layers; each costs runs of the network per layer.
constexpr size_t kSensitivitySamples = 4;

class ModelQuantizer {
 public:
  ModelQuantizer(const Graph& graph, std::span<const Shape> example_shapes,
                 const CalibrationData& data, const QuantizeOptions& options)
      : graph_(graph), example_shapes_(example_shapes), data_(data), options_(options) {}

  absl::StatusOr<QuantizedModel> Run() {
    const auto start = std::chrono::steady_clock::now();
    OCTET_RETURN_IF_ERROR(FindLayers());
    OCTET_RETURN_IF_ERROR(QuantizeAllWeights());
    if (data_.samples.empty()) {
      OCTET_RETURN_IF_ERROR(Dynamic());
    } else {
      OCTET_RETURN_IF_ERROR(Static());
    }
    FillReport();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    report_.seconds = elapsed.count();
    return QuantizedModel{std::move(*best_), std::move(report_)};
  }

 private:
  void Progress(absl::string_view stage, const std::string& detail) const {
    if (options_.progress) options_.progress(stage, detail);
  }

  const QuantizeOptions::LayerRule* RuleFor(const std::string& name) const {
    for (const QuantizeOptions::LayerRule& rule : options_.layers) {
      if (fnmatch(rule.pattern.c_str(), name.c_str(), 0) == 0) return &rule;
    }
    return nullptr;
  }

  absl::Status FindLayers() {
    OCTET_ASSIGN_OR_RETURN(layers_, quant::QuantizableLayers(graph_));
    OCTET_ASSIGN_OR_RETURN(const graph::Inference inference, graph::Infer(graph_, example_shapes_));
    for (const NodeId id : layers_) {
      const graph::Node& node = graph_.node(id);
      const Shape& weight = graph_.value(node.inputs[1]).type.shape;
      const int axis = quant::WeightAxis(node, weight);
      const Shape& output = inference.types[static_cast<size_t>(node.outputs[0])].shape;
      LayerReport layer{
          .node = node.name,
          .op = node.op,
          .precision = data_.samples.empty() ? Precision::kInt8Dynamic : Precision::kInt8,
          .weight_shape = weight,
          .macs = ElementCount(output) * (ElementCount(weight) / weight[axis])};
      if (const auto* rule = RuleFor(node.name)) {
        if (!rule->int8) layer.precision = Precision::kFloat32;
        layer.reason = "configured";
      }
      precisions_[id] = layer.precision;
      total_macs_ += layer.macs;
      report_.layers.push_back(std::move(layer));
    }
    if (layers_.empty()) report_.warnings.push_back("the model has no layer to quantize");
    return absl::OkStatus();
  }

  quant::Grid WeightGrid() const {
    using Range = QuantizeOptions::WeightRange;
    const bool reduced = options_.weight_range == Range::kReduced ||
                         (options_.weight_range == Range::kAuto && !kernels::HasVnni());
    return reduced ? quant::kSymmetricInt7 : quant::kSymmetricInt8;
  }

  absl::Status QuantizeAllWeights() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const graph::Node& node = graph_.node(layers_[i]);
      const Tensor& weight = *graph_.value(node.inputs[1]).constant;
      Progress("quantize weights", absl::StrCat(i + 1, " of ", layers_.size()));
      if (!weights_.contains(weight.id())) {
        quant::WeightOptions options{.estimator = options_.weight_algorithm,
                                     .grid = WeightGrid(),
                                     .zero_non_finite = options_.zero_non_finite};
        options.estimator_options.percentile = options_.percentile;
        if (options_.per_channel) options.axis = quant::WeightAxis(node, weight.shape());
        absl::StatusOr<quant::QuantizedWeights> quantized =
            quant::QuantizeWeights(weight.view(), options);
        if (!quantized.ok()) {
          return Annotate(quantized.status(), absl::StrCat("weights of node ", node.name));
        }
        weights_.emplace(weight.id(), *std::move(quantized));
      }
      LayerReport& layer = report_.layers[i];
      const quant::QuantizedWeights& quantized = weights_.at(weight.id());
      layer.weight_sqnr_db = quantized.sqnr_db;
      layer.bytes_before = weight.byte_size();
      layer.bytes_after =
          quantized.codes.byte_size() + quantized.params.scales.size() * sizeof(float);
    }
    return absl::OkStatus();
  }

  absl::Status Dynamic() {
    report_.mode = "int8 dynamic";
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, quant::Select(graph_, precisions_));
    OCTET_ASSIGN_OR_RETURN(best_, quant::Rewrite(graph_, selection, {}, weights_));
    return absl::OkStatus();
  }

  absl::Status Static() {
    report_.mode = "int8";
    report_.calibration_source = data_.source;
    OCTET_RETURN_IF_ERROR(Calibrate());
    if (!held_out_.empty()) {
      OCTET_ASSIGN_OR_RETURN(exact_, RunAll(graph_, held_out_, float_weights_));
    }
    std::optional<Attempt> best;
    for (const std::string& algorithm : options_.activation_algorithms) {
      Progress("choose ranges", algorithm);
      OCTET_ASSIGN_OR_RETURN(Attempt attempt, Try(precisions_, algorithm));
      report_.attempts.push_back({algorithm, attempt.sqnr_db});
      if (!best || attempt.sqnr_db > best->sqnr_db) {
        best = std::move(attempt);
        report_.activation_algorithm = algorithm;
      }
      if (held_out_.empty()) break;  // nothing to compare them by
    }
    if (!held_out_.empty()) OCTET_RETURN_IF_ERROR(RefineWorst(*best));
    report_.output_sqnr_db = held_out_.empty() ? 0 : best->sqnr_db;
    best_ = std::move(best->graph);
    return held_out_.empty() ? absl::OkStatus() : MeasureLayers();
  }

  // What every layer's result has become in the quantized network.
  absl::Status MeasureLayers() {
    std::vector<ValueId> results;
    for (const NodeId id : layers_) results.push_back(graph_.node(id).outputs[0]);
    Progress("measure layers", absl::StrCat(results.size()));
    const Samples samples = held_out_.first(std::min(kSensitivitySamples, held_out_.size()));
    OCTET_ASSIGN_OR_RETURN(
        const std::vector<double> sqnr_db,
        ValueSqnrDb(graph_, *best_, results, samples, float_weights_, quantized_weights_));
    for (size_t i = 0; i < sqnr_db.size(); ++i) report_.layers[i].output_sqnr_db = sqnr_db[i];
    return absl::OkStatus();
  }

  absl::Status Calibrate() {
    const size_t count = data_.samples.size();
    auto held = static_cast<size_t>(static_cast<double>(count) * options_.held_out_share);
    if (count >= 2) held = std::clamp<size_t>(held, 1, count - 1);
    const Samples all(data_.samples);
    const Samples observed = all.first(count - held);
    held_out_ = all.last(held);
    report_.calibration_samples = observed.size();
    report_.held_out_samples = held;
    if (held == 0) {
      report_.warnings.push_back("one calibration sample: the accuracy was not measured");
    }
    // Everything that may be read as codes once all layers are int8.
    OCTET_ASSIGN_OR_RETURN(const quant::Selection widest, quant::Select(graph_, precisions_));
    for (size_t i = 0; i < graph_.value_count(); ++i) {
      if (widest.quantizer[i] >= 0) observed_values_.push_back(static_cast<ValueId>(i));
    }
    Progress("calibrate",
             absl::StrCat(observed.size(), " samples, ", observed_values_.size(), " activations"));
    OCTET_ASSIGN_OR_RETURN(std::vector<quant::Histogram> histograms,
                           Observe(graph_, observed_values_, observed, float_weights_));
    for (size_t i = 0; i < histograms.size(); ++i) {
      histograms_.emplace(observed_values_[i], std::move(histograms[i]));
    }
    return absl::OkStatus();
  }

  struct Attempt {
    Graph graph;
    double sqnr_db = 0;
  };

  absl::StatusOr<Attempt> Try(const quant::LayerPrecisions& precisions,
                              const std::string& algorithm, size_t max_samples = SIZE_MAX) {
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, quant::Select(graph_, precisions));
    OCTET_ASSIGN_OR_RETURN(const std::vector<quant::ValueQuantizer> quantizers,
                           Quantizers(selection, algorithm));
    OCTET_ASSIGN_OR_RETURN(Graph graph, quant::Rewrite(graph_, selection, quantizers, weights_));
    Attempt attempt{.graph = std::move(graph)};
    const size_t count = std::min(max_samples, held_out_.size());
    if (count == 0) return attempt;
    OCTET_ASSIGN_OR_RETURN(const auto outputs,
                           RunAll(attempt.graph, held_out_.first(count), quantized_weights_));
    attempt.sqnr_db = OutputSqnrDb({exact_.begin(), exact_.begin() + count}, outputs);
    return attempt;
  }

  absl::StatusOr<std::vector<quant::ValueQuantizer>> Quantizers(const quant::Selection& selection,
                                                                const std::string& algorithm) {
    OCTET_ASSIGN_OR_RETURN(const quant::RangeEstimator estimator,
                           quant::FindRangeEstimator(algorithm));
    std::vector<quant::Histogram> merged(static_cast<size_t>(selection.quantizer_count));
    for (const auto& [value, histogram] : histograms_) {
      const int index = selection.quantizer[static_cast<size_t>(value)];
      if (index >= 0) merged[static_cast<size_t>(index)].Merge(histogram);
    }
    std::vector<quant::ValueQuantizer> quantizers;
    for (const quant::Histogram& histogram : merged) {
      OCTET_ASSIGN_OR_RETURN(const quant::Distribution values, quant::Distribution::Of(histogram));
      OCTET_ASSIGN_OR_RETURN(
          const quant::RangeEstimate estimate,
          estimator.estimate(values, quant::kAsymmetricUint8, {.percentile = options_.percentile}));
      quantizers.push_back({DataType::kUint8, quant::ToQuantParams(quant::AffineFor(
                                                  estimate.range, quant::kAsymmetricUint8))});
    }
    return quantizers;
  }

  // The layers that static int8 made, the one that alone makes the most noise first.
  absl::StatusOr<std::vector<size_t>> BySensitivity() {
    std::vector<size_t> order;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (precisions_[layers_[i]] != Precision::kInt8 || RuleFor(report_.layers[i].node)) continue;
      Progress("measure sensitivity", absl::StrCat(i + 1, " of ", layers_.size()));
      quant::LayerPrecisions alone;
      for (const NodeId id : layers_) alone[id] = Precision::kFloat32;
      alone[layers_[i]] = Precision::kInt8;
      OCTET_ASSIGN_OR_RETURN(const Attempt attempt,
                             Try(alone, report_.activation_algorithm, kSensitivitySamples));
      report_.layers[i].alone_sqnr_db = attempt.sqnr_db;
      order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      return report_.layers[a].alone_sqnr_db < report_.layers[b].alone_sqnr_db;
    });
    return order;
  }

  // While the target is missed, the worst layers get more precise: matrix products first take their
  // ranges token by token, which stays int8; then layers go to float, as far as the budget allows.
  absl::Status RefineWorst(Attempt& best) {
    if (best.sqnr_db >= options_.target_sqnr_db) return absl::OkStatus();
    OCTET_ASSIGN_OR_RETURN(const std::vector<size_t> order, BySensitivity());
    for (const size_t i : order) {
      if (report_.layers[i].op == "Conv") continue;  // sample by sample is slow
      OCTET_RETURN_IF_ERROR(Refine(i, Precision::kInt8Dynamic, best).status());
    }
    int64_t float_macs = 0;
    const auto budget =
        static_cast<int64_t>(options_.max_float_fraction * static_cast<double>(total_macs_));
    for (const size_t i : order) {
      if (float_macs + report_.layers[i].macs > budget) continue;
      OCTET_ASSIGN_OR_RETURN(const bool moved, Refine(i, Precision::kFloat32, best));
      if (moved) float_macs += report_.layers[i].macs;
    }
    if (best.sqnr_db < options_.target_sqnr_db) {
      report_.warnings.push_back(absl::StrFormat(
          "output SQNR %.1f dB is below the target of %.1f dB with the layers that may stay in "
          "float",
          best.sqnr_db, options_.target_sqnr_db));
    }
    return absl::OkStatus();
  }

  // Gives one layer another precision, if the target is still missed and that helps.
  absl::StatusOr<bool> Refine(size_t index, Precision precision, Attempt& best) {
    if (best.sqnr_db >= options_.target_sqnr_db) return false;
    quant::LayerPrecisions next = precisions_;
    next[layers_[index]] = precision;
    OCTET_ASSIGN_OR_RETURN(Attempt attempt, Try(next, report_.activation_algorithm));
    if (attempt.sqnr_db <= best.sqnr_db) return false;
    LayerReport& layer = report_.layers[index];
    layer.precision = precision;
    layer.reason = absl::StrFormat("static int8 alone leaves %.1f dB; so the output has %.1f dB",
                                   layer.alone_sqnr_db, attempt.sqnr_db);
    precisions_ = std::move(next);
    best = std::move(attempt);
    Progress("refine", absl::StrCat(layer.node, ": ", Name(precision), ", ", layer.reason));
    return true;
  }

  void FillReport() {
    int64_t int8_macs = 0;
    for (LayerReport& layer : report_.layers) {
      if (layer.precision == Precision::kFloat32) {
        layer.bytes_after = layer.bytes_before;
      } else {
        int8_macs += layer.macs;
      }
    }
    if (total_macs_ > 0) {
      report_.int8_mac_share = static_cast<double>(int8_macs) / static_cast<double>(total_macs_);
    }
  }

  const Graph& graph_;
  const std::span<const Shape> example_shapes_;
  const CalibrationData& data_;
  const QuantizeOptions& options_;
  QuantizeReport report_;
  std::vector<NodeId> layers_;
  quant::LayerPrecisions precisions_;
  int64_t total_macs_ = 0;
  quant::WeightsById weights_;
  std::vector<ValueId> observed_values_;
  absl::flat_hash_map<ValueId, quant::Histogram> histograms_;
  Samples held_out_;
  std::vector<std::vector<Tensor>> exact_;
  kernels::WeightCache float_weights_, quantized_weights_;
  std::optional<Graph> best_;
};

}  // namespace

absl::StatusOr<QuantizedModel> QuantizeModel(const Graph& graph,
                                             std::span<const Shape> example_shapes,
                                             const CalibrationData& data,
                                             const QuantizeOptions& options) {
  return ModelQuantizer(graph, example_shapes, data, options).Run();
}

}  // namespace octet::runtime
