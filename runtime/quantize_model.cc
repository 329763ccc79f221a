#include "runtime/quantize_model.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/cpu.h"
#include "quant/rewrite.h"
#include "runtime/activation_ranges.h"
#include "runtime/correct_biases.h"
#include "runtime/evaluate.h"
#include "runtime/held_out.h"
#include "runtime/precision_search.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using quant::Precision;

// Enough to compare layers, and to compare ways to choose ranges.
constexpr size_t kLayerSamples = 4;
constexpr size_t kRangeSamples = 32;

class ModelQuantizer {
 public:
  ModelQuantizer(const Graph& graph, std::span<const Shape> example_shapes,
                 const CalibrationData& data, const QuantizeOptions& options,
                 const CalibrationData& validation)
      : graph_(graph),
        example_shapes_(example_shapes),
        data_(data),
        validation_(validation),
        options_(options) {}

  absl::StatusOr<QuantizedModel> Run() {
    const auto start = std::chrono::steady_clock::now();
    OCTET_ASSIGN_OR_RETURN(report_.recipe, ChooseRecipe(graph_, example_shapes_, options_.recipe));
    OCTET_RETURN_IF_ERROR(FindLayers());
    OCTET_RETURN_IF_ERROR(QuantizeAllWeights());
    SplitSamples();
    if (!data_.samples.empty()) OCTET_RETURN_IF_ERROR(Calibrate());
    report_.mode = has_ranges_ ? "int8" : "int8 dynamic";
    if (options_.decided) {
      OCTET_RETURN_IF_ERROR(TakeDecisions(*options_.decided));
    } else {
      OCTET_RETURN_IF_ERROR(Decide());
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

  Precision FirstPrecision(const graph::Node& layer) const {
    using Timing = QuantizeOptions::Timing;
    const bool by_token = layer.op != "Conv" && TakesRangesByToken(report_.recipe.recipe);
    const bool dynamic = data_.samples.empty() || options_.timing == Timing::kDynamic ||
                         (options_.timing == Timing::kAuto && by_token);
    return dynamic ? Precision::kInt8Dynamic : Precision::kInt8;
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
      LayerReport layer{.node = node.name,
                        .op = node.op,
                        .precision = FirstPrecision(node),
                        .weight_shape = weight,
                        .macs = ElementCount(output) * (ElementCount(weight) / weight[axis])};
      if (const auto* rule = RuleFor(node.name)) {
        if (!rule->int8) layer.precision = Precision::kFloat32;
        layer.reason = "configured";
      }
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

  // Who calibrates, and who measures.
  void SplitSamples() {
    if (validation_.samples.empty()) {
      SampleSplit split = HoldOut(data_, options_.held_out_share);
      calibrating_ = std::move(split.calibrating);
      measuring_ = std::move(split.held_out);
      report_.accuracy.source = "held-out calibration samples";
    } else {
      calibrating_ = data_.samples;
      measuring_ = WithoutSeen(calibrating_, validation_);
      report_.accuracy.source = absl::StrCat("samples of ", validation_.source);
      if (const size_t seen = validation_.samples.size() - measuring_.samples.size(); seen > 0) {
        report_.warnings.push_back(absl::StrCat(
            seen, " samples of the validation data have calibrated and were passed over"));
      }
    }
    report_.calibration_source = data_.source;
    report_.estimated = options_.estimated && !data_.samples.empty();
    report_.calibration_samples = calibrating_.size();
    report_.held_out_samples = measuring_.samples.size();
    if (measuring_.samples.empty() && !data_.samples.empty()) {
      report_.warnings.push_back(
          "no sample is left that has not calibrated: the accuracy was not measured");
    }
  }

  // Ranges, then precisions, then the verdict.
  absl::Status Decide() {
    if (!measuring_.samples.empty()) {
      OCTET_ASSIGN_OR_RETURN(exact_, RunAll(graph_, measuring_.samples, float_weights_));
    }
    OCTET_RETURN_IF_ERROR(ChooseRanges());
    OCTET_RETURN_IF_ERROR(TryBiasCorrection());
    if (!measuring_.samples.empty()) OCTET_RETURN_IF_ERROR(HoldTarget());
    OCTET_RETURN_IF_ERROR(GiveVerdict());
    OCTET_ASSIGN_OR_RETURN(best_, Rewritten(Precisions(), report_.activation_algorithm));
    return measuring_.samples.empty() ? absl::OkStatus() : MeasureLayers();
  }

  absl::Status TakeDecisions(const QuantizeOptions::Decisions& decided) {
    if (decided.precisions.size() != layers_.size()) {
      return absl::InvalidArgumentError(absl::StrCat("decisions for ", decided.precisions.size(),
                                                     " layers, the graph has ", layers_.size()));
    }
    for (size_t i = 0; i < layers_.size(); ++i) report_.layers[i].precision = decided.precisions[i];
    report_.activation_algorithm = decided.activation_algorithm;
    if (decided.bias_correction) OCTET_RETURN_IF_ERROR(CorrectAllBiases());
    OCTET_ASSIGN_OR_RETURN(best_, Rewritten(decided.precisions, decided.activation_algorithm));
    return absl::OkStatus();
  }

  // The ways to choose ranges, held against each other; with no data, nothing is to choose.
  absl::Status ChooseRanges() {
    if (!has_ranges_) return absl::OkStatus();
    report_.activation_algorithm = options_.activation_algorithms.at(0);
    if (measuring_.samples.empty()) return absl::OkStatus();
    double best = -HUGE_VAL;
    for (const std::string& algorithm : options_.activation_algorithms) {
      Progress("choose ranges", algorithm);
      OCTET_ASSIGN_OR_RETURN(const AccuracyValues values,
                             Measure(Precisions(), algorithm, kRangeSamples));
      report_.attempts.push_back({algorithm, values.sqnr_db});
      if (values.sqnr_db <= best) continue;
      best = values.sqnr_db;
      report_.accuracy.values = values;
      report_.activation_algorithm = algorithm;
    }
    return absl::OkStatus();
  }

  absl::Status CorrectAllBiases() {
    Progress("correct biases", report_.activation_algorithm);
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, Selected(Precisions()));
    std::vector<quant::ValueQuantizer> quantizers;
    if (has_ranges_) {
      OCTET_ASSIGN_OR_RETURN(quantizers,
                             ranges_.Quantizers(selection, report_.activation_algorithm));
    }
    const Samples all(calibrating_);
    OCTET_ASSIGN_OR_RETURN(
        biases_, CorrectBiases(graph_, selection, quantizers, weights_,
                               all.first(std::min(kRangeSamples, all.size())), float_weights_));
    report_.bias_correction = true;
    return absl::OkStatus();
  }

  // Kept if the outputs come nearer to float32.
  absl::Status TryBiasCorrection() {
    using Wanted = QuantizeOptions::BiasCorrection;
    const bool measurable = !measuring_.samples.empty();
    if (options_.bias_correction == Wanted::kOff || calibrating_.empty() || layers_.empty()) {
      return absl::OkStatus();
    }
    if (options_.bias_correction == Wanted::kAuto && !measurable) return absl::OkStatus();
    AccuracyValues& before = report_.accuracy.values;
    if (measurable && before.samples == 0) {
      OCTET_ASSIGN_OR_RETURN(before, Measure(Precisions(), "", kRangeSamples));
    }
    OCTET_RETURN_IF_ERROR(CorrectAllBiases());
    if (!measurable) return absl::OkStatus();
    OCTET_ASSIGN_OR_RETURN(const AccuracyValues values,
                           Measure(Precisions(), report_.activation_algorithm, kRangeSamples));
    report_.bias_correction_sqnr_db = values.sqnr_db;
    if (options_.bias_correction == Wanted::kOn || values.sqnr_db > before.sqnr_db) {
      before = values;
    } else {
      biases_ = BiasCorrections();
      report_.bias_correction = false;
    }
    return absl::OkStatus();
  }

  // Measures, and where the target is missed gives layers more precision.
  absl::Status HoldTarget() {
    const auto measure = [this](const std::vector<Precision>& precisions, size_t max_samples) {
      return Measure(precisions, report_.activation_algorithm, max_samples);
    };
    AccuracyReport& accuracy = report_.accuracy;
    if (accuracy.values.samples < exact_.size()) {  // else what ChooseRanges() has measured
      OCTET_ASSIGN_OR_RETURN(accuracy.values, measure(Precisions(), SIZE_MAX));
    }
    if (options_.on_fail == OnFail::kWarn) return absl::OkStatus();
    const SearchOptions search{.target = options_.accuracy,
                               .max_float_fraction = options_.max_float_fraction,
                               .seconds = options_.search_seconds,
                               .progress = options_.progress};
    OCTET_ASSIGN_OR_RETURN(const SearchResult found,
                           SearchPrecisions(SearchLayers(), accuracy.values, search, measure));
    accuracy.values = found.values;
    accuracy.attempts = found.attempts;
    accuracy.search_seconds = found.seconds;
    accuracy.out_of_time = found.out_of_time;
    for (size_t i = 0; i < layers_.size(); ++i) {
      LayerReport& layer = report_.layers[i];
      layer.precision = found.precisions[i];
      layer.alone_sqnr_db = found.alone_sqnr_db[i];
      if (!found.reasons[i].empty()) layer.reason = found.reasons[i];
    }
    if (found.out_of_time) {
      report_.warnings.push_back(absl::StrFormat(
          "the search for precisions ended with its time budget of %.0f s, after %d measurements",
          options_.search_seconds, found.attempts));
    }
    return absl::OkStatus();
  }

  // Matrix products may take their ranges token by token, which stays int8; convolutions not, since
  // sample by sample is slow.
  std::vector<SearchLayer> SearchLayers() const {
    std::vector<SearchLayer> layers;
    for (const LayerReport& layer : report_.layers) {
      SearchLayer& search = layers.emplace_back(SearchLayer{layer.node, layer.macs, {}});
      search.ladder = {layer.precision};
      if (RuleFor(layer.node)) continue;
      if (layer.precision == Precision::kInt8 && layer.op != "Conv") {
        search.ladder.push_back(Precision::kInt8Dynamic);
      }
      search.ladder.push_back(Precision::kFloat32);
    }
    return layers;
  }

  absl::Status GiveVerdict() {
    AccuracyReport& accuracy = report_.accuracy;
    accuracy.target = options_.accuracy;
    accuracy.on_fail = options_.on_fail;
    accuracy.verdict = Judge(accuracy.target, accuracy.values);
    const bool estimated = report_.estimated && validation_.samples.empty();
    if (estimated) accuracy.verdict = AccuracyVerdict::kUnverified;
    report_.output_sqnr_db = accuracy.values.samples == 0 ? 0 : accuracy.values.sqnr_db;
    if (accuracy.verdict == AccuracyVerdict::kUnverified) {
      accuracy.note =
          estimated ? "the samples are synthetic" : WhyUnverified(accuracy.target, accuracy.values);
    }
    if (accuracy.verdict != AccuracyVerdict::kBestEffort) return absl::OkStatus();
    if (options_.on_fail == OnFail::kError) return MissedTarget(accuracy);
    if (options_.on_fail == OnFail::kFloat) return ServeFloat();
    accuracy.note = options_.on_fail == OnFail::kWarn
                        ? "no layer was given more precision (on_fail: warn)"
                        : "the best with the layers that may leave int8";
    report_.warnings.push_back(absl::StrCat(DescribeMeasured(accuracy.target, accuracy.values),
                                            " is below the target, ", Describe(accuracy.target),
                                            ": ", accuracy.note));
    return absl::OkStatus();
  }

  absl::Status ServeFloat() {
    AccuracyReport& accuracy = report_.accuracy;
    accuracy.note = absl::StrCat("served in float32: int8 reached ",
                                 DescribeMeasured(accuracy.target, accuracy.values));
    report_.warnings.push_back(
        absl::StrCat("the target, ", Describe(accuracy.target), ", is missed: ", accuracy.note));
    report_.mode = "fp32";
    accuracy.values = CompareOutputs(exact_, exact_, measuring_.labels);
    report_.output_sqnr_db = accuracy.values.sqnr_db;
    for (LayerReport& layer : report_.layers) {
      if (layer.precision == Precision::kFloat32) continue;
      layer.precision = Precision::kFloat32;
      layer.reason = "the accuracy target is missed in int8";
    }
    return absl::OkStatus();
  }

  // What every layer's result has become in the quantized network.
  absl::Status MeasureLayers() {
    std::vector<ValueId> results;
    results.reserve(layers_.size());
    for (const NodeId id : layers_) results.push_back(graph_.node(id).outputs[0]);
    Progress("measure layers", absl::StrCat(results.size()));
    const Samples all(measuring_.samples);
    const Samples samples = all.first(std::min(kLayerSamples, all.size()));
    OCTET_ASSIGN_OR_RETURN(
        const std::vector<double> sqnr_db,
        ValueSqnrDb(graph_, *best_, results, samples, float_weights_, quantized_weights_));
    for (size_t i = 0; i < sqnr_db.size(); ++i) report_.layers[i].output_sqnr_db = sqnr_db[i];
    return absl::OkStatus();
  }

  absl::Status Calibrate() {
    // Everything that may be read as codes once all layers are int8.
    OCTET_ASSIGN_OR_RETURN(const quant::Selection widest, Selected(Precisions()));
    has_ranges_ = widest.quantizer_count > 0;
    if (!has_ranges_) return absl::OkStatus();
    Progress("calibrate", absl::StrCat(calibrating_.size(), " samples"));
    return ranges_.Observe(graph_, widest, calibrating_, float_weights_);
  }

  std::vector<Precision> Precisions() const {
    std::vector<Precision> precisions;
    precisions.reserve(report_.layers.size());
    for (const LayerReport& layer : report_.layers) precisions.push_back(layer.precision);
    return precisions;
  }

  absl::StatusOr<quant::Selection> Selected(const std::vector<Precision>& precisions) const {
    quant::LayerPrecisions layers;
    for (size_t i = 0; i < layers_.size(); ++i) layers[layers_[i]] = precisions[i];
    return quant::Select(graph_, layers);
  }

  // The graph with these precisions of its layers.
  absl::StatusOr<Graph> Rewritten(const std::vector<Precision>& precisions,
                                  const std::string& algorithm) {
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, Selected(precisions));
    std::vector<quant::ValueQuantizer> quantizers;
    if (selection.quantizer_count > 0) {
      OCTET_ASSIGN_OR_RETURN(quantizers, ranges_.Quantizers(selection, algorithm));
    }
    OCTET_ASSIGN_OR_RETURN(Graph graph, quant::Rewrite(graph_, selection, quantizers, weights_));
    ApplyBiases(biases_, selection, graph);
    return graph;
  }

  absl::StatusOr<AccuracyValues> Measure(const std::vector<Precision>& precisions,
                                         const std::string& algorithm, size_t max_samples) {
    OCTET_ASSIGN_OR_RETURN(const Graph graph, Rewritten(precisions, algorithm));
    const size_t count = std::min(max_samples, exact_.size());
    const Samples samples = Samples(measuring_.samples).first(count);
    OCTET_ASSIGN_OR_RETURN(const auto outputs, RunAll(graph, samples, quantized_weights_));
    const std::span<const int64_t> labels(measuring_.labels);
    return CompareOutputs({exact_.begin(), exact_.begin() + static_cast<ptrdiff_t>(count)}, outputs,
                          labels.empty() ? labels : labels.first(count));
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
  const CalibrationData& validation_;
  const QuantizeOptions& options_;
  QuantizeReport report_;
  std::vector<NodeId> layers_;
  int64_t total_macs_ = 0;
  quant::WeightsById weights_;
  BiasCorrections biases_;
  bool has_ranges_ = false;  // from samples, for some value
  ActivationRanges ranges_{options_.percentile};
  std::vector<std::vector<Tensor>> calibrating_;
  CalibrationData measuring_;
  std::vector<std::vector<Tensor>> exact_;
  kernels::WeightCache float_weights_, quantized_weights_;
  std::optional<Graph> best_;
};

}  // namespace

absl::StatusOr<QuantizedModel> QuantizeModel(const Graph& graph,
                                             std::span<const Shape> example_shapes,
                                             const CalibrationData& data,
                                             const QuantizeOptions& options,
                                             const CalibrationData& validation) {
  return ModelQuantizer(graph, example_shapes, data, options, validation).Run();
}

QuantizeOptions::Decisions DecisionsOf(const QuantizeReport& report) {
  QuantizeOptions::Decisions decisions{.activation_algorithm = report.activation_algorithm,
                                       .bias_correction = report.bias_correction,
                                       .precisions = {}};
  for (const LayerReport& layer : report.layers) decisions.precisions.push_back(layer.precision);
  return decisions;
}

}  // namespace octet::runtime
