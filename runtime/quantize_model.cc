#include "runtime/quantize_model.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "quant/embeddings.h"
#include "quant/rewrite.h"
#include "runtime/activation_ranges.h"
#include "runtime/attention_products.h"
#include "runtime/collect_details.h"
#include "runtime/correct_biases.h"
#include "runtime/evaluate.h"
#include "runtime/held_out.h"
#include "runtime/layer_list.h"
#include "runtime/layer_weights.h"
#include "runtime/local_noise.h"
#include "runtime/memory_budget.h"
#include "runtime/precision_search.h"
#include "runtime/row_ranges.h"
#include "runtime/verdict.h"

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
    SplitSamples();
    OCTET_ASSIGN_OR_RETURN(const int64_t hessian_bytes,
                           BytesForHessians(options_, graph_, data_, validation_));
    weights_.CalibrateWith(calibrating_, float_weights_, hessian_bytes);
    if (data_.Calibrates()) OCTET_RETURN_IF_ERROR(Calibrate());
    OCTET_RETURN_IF_ERROR(weights_.Quantize(ByNode(WantedWeights())));
    report_.mode = std::string(Name(PrecisionOf(options_.mode, !has_ranges_)));
    OCTET_RETURN_IF_ERROR(options_.decided ? TakeDecisions(*options_.decided) : Decide());
    for (size_t i = 0; i < layers_.size(); ++i) {
      weights_.Describe(layers_[i], report_.layers[i].precision, report_.layers[i]);
    }
    FillShares(report_);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    report_.seconds = elapsed.count();
    if (options_.details) {
      OCTET_ASSIGN_OR_RETURN(
          report_.details, CollectDetails({graph_, layers_, report_, weights_, ranges_, options_}));
    }
    return QuantizedModel{std::move(*best_), std::move(report_)};
  }

 private:
  void Progress(absl::string_view stage, const std::string& detail) const {
    if (options_.progress) options_.progress(stage, detail);
  }

  Resources Floats() { return {float_weights_, options_.threads, FileForValues()}; }
  Resources Quantized() { return {quantized_weights_, options_.threads, FileForValues()}; }
  TensorFile* FileForValues() const {
    const bool allowed = !data_.in_memory_only && !validation_.in_memory_only;
    return allowed ? graph_.tensor_file().get() : nullptr;
  }

  absl::Status FindLayers() {
    OCTET_ASSIGN_OR_RETURN(LayerList list, ListLayers(graph_, example_shapes_, options_,
                                                      report_.recipe.recipe, data_.Calibrates()));
    layers_ = std::move(list.nodes);
    report_.layers = std::move(list.reports);
    rules_ = std::move(list.rules);
    report_.warnings = FourBitWarnings(report_.layers, options_, !data_.samples.empty());
    for (std::string& warning : list.warnings) report_.warnings.push_back(std::move(warning));
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (rules_[i] == nullptr) continue;
      OCTET_RETURN_IF_ERROR(ranges_.Override(graph_.node(layers_[i]).inputs[0], *rules_[i]));
    }
    return absl::OkStatus();
  }

  // What weights are to be there from the beginning.
  std::vector<Precision> WantedWeights() const {
    std::vector<Precision> wanted = Precisions();
    if (options_.decided) {
      // Another number of layers is found out later.
      if (options_.decided->precisions.size() == wanted.size()) return options_.decided->precisions;
    } else if (AnyInt8(wanted)) {
      // Of layers that stay in float32 too, for the report to say what 8 bits would be.
      std::replace(wanted.begin(), wanted.end(), Precision::kFloat32, Precision::kInt8);
    }
    return wanted;
  }

  void SplitSamples() {
    ChosenSamples chosen =
        ChooseSamples(data_, validation_, AnyInt8(Precisions()) ? options_.held_out_share : 1);
    calibrating_ = std::move(chosen.calibrating);
    measuring_ = std::move(chosen.measuring);
    report_.accuracy.source = std::move(chosen.source);
    if (!chosen.warning.empty()) report_.warnings.push_back(std::move(chosen.warning));
    report_.calibration_source = data_.source;
    report_.estimated = options_.estimated && !data_.samples.empty();
    report_.calibration_samples =
        data_.statistics ? data_.statistics->samples : calibrating_.size();
    report_.held_out_samples = measuring_.samples.size();
    if (measuring_.samples.empty() && !data_.samples.empty()) {
      report_.warnings.push_back(
          "no sample is left that has not calibrated: the accuracy was not measured");
    }
  }

  // Ranges, then precisions, then the verdict.
  absl::Status Decide() {
    if (!measuring_.samples.empty()) {
      OCTET_ASSIGN_OR_RETURN(exact_, RunAll(graph_, measuring_.samples, Floats()));
    }
    OCTET_RETURN_IF_ERROR(ChooseRanges());
    OCTET_RETURN_IF_ERROR(TryBiasCorrection());
    if (!measuring_.samples.empty()) OCTET_RETURN_IF_ERROR(HoldTarget());
    const bool estimated = report_.estimated && validation_.samples.empty();
    OCTET_RETURN_IF_ERROR(
        GiveVerdict(options_, estimated, MayMove(), exact_, measuring_.labels, report_));
    OCTET_ASSIGN_OR_RETURN(best_, Rewritten(Precisions(), report_.activation_algorithm));
    return measuring_.samples.empty() ? absl::OkStatus() : MeasureLayers();
  }

  absl::Status TakeDecisions(const QuantizeOptions::Decisions& decided) {
    if (decided.precisions.size() != layers_.size()) {
      return absl::InvalidArgumentError(absl::StrCat("decisions for ", decided.precisions.size(),
                                                     " layers, the graph has ", layers_.size()));
    }
    report_.activation_algorithm = decided.activation_algorithm;
    // As the first time, before layers have moved.
    if (decided.bias_correction) OCTET_RETURN_IF_ERROR(CorrectAllBiases());
    for (size_t i = 0; i < layers_.size(); ++i) report_.layers[i].precision = decided.precisions[i];
    OCTET_ASSIGN_OR_RETURN(best_, Rewritten(decided.precisions, decided.activation_algorithm));
    return absl::OkStatus();
  }

  // The ways to choose ranges, held against each other; with no data, nothing is to choose.
  absl::Status ChooseRanges() {
    if (!has_ranges_) return absl::OkStatus();
    report_.activation_algorithm = options_.activation_algorithms.at(0);
    if (measuring_.samples.empty()) return absl::OkStatus();
    double best = -HUGE_VAL;
    std::vector<std::string> algorithms = options_.activation_algorithms;
    for (const std::string& other : options_.also_measured) algorithms.push_back(other);
    for (const std::string& algorithm : algorithms) {
      Progress("choose ranges", algorithm);
      OCTET_ASSIGN_OR_RETURN(const AccuracyValues values,
                             Measure(Precisions(), algorithm, kRangeSamples));
      report_.attempts.push_back({algorithm, values.sqnr_db});
      const bool candidate = report_.attempts.size() <= options_.activation_algorithms.size();
      if (!candidate || values.sqnr_db <= best) continue;
      best = values.sqnr_db;
      report_.accuracy.values = values;
      report_.activation_algorithm = algorithm;
    }
    return absl::OkStatus();
  }

  absl::Status CorrectAllBiases() {
    Progress("correct biases", report_.activation_algorithm);
    OCTET_RETURN_IF_ERROR(weights_.Quantize(ByNode(Precisions())));
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, Selected(Precisions()));
    std::vector<quant::ValueQuantizer> quantizers;
    if (has_ranges_) {
      OCTET_ASSIGN_OR_RETURN(quantizers,
                             ranges_.Quantizers(selection, report_.activation_algorithm));
    }
    OCTET_ASSIGN_OR_RETURN(
        biases_, CorrectBiases(graph_, selection, quantizers, weights_.For(selection.layers),
                               EvenlySpaced(calibrating_, kRangeSamples), Floats()));
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
    if (!MayMove()) return absl::OkStatus();
    SearchOptions search{.target = options_.accuracy,
                         .target_is_set = options_.target_is_set,
                         .max_float_fraction = options_.max_float_fraction,
                         .seconds = options_.search_seconds,
                         .progress = options_.progress};
    if (options_.policy == QuantizeOptions::Policy::kLocal) {
      const Samples all(measuring_.samples);
      OCTET_ASSIGN_OR_RETURN(
          search.layer_noise,
          LocalNoise(graph_, layers_, Precisions(), weights_, report_.activation_algorithm, ranges_,
                     all.first(std::min(kLayerSamples, all.size()))));
    }
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

  // Whether layers are given more precision for the target.
  bool MayMove() const {
    if (options_.policy == QuantizeOptions::Policy::kOff) return false;
    if (options_.on_fail != OnFail::kMixed) return options_.on_fail != OnFail::kWarn;
    return options_.target_is_set || !AnyFourBits(report_.layers);
  }

  std::vector<SearchLayer> SearchLayers() const {
    const bool bfloat16 = ThisProcessor().bfloat16;
    std::vector<SearchLayer> layers;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerReport& layer = report_.layers[i];
      const bool fixed = rules_[i] != nullptr && rules_[i]->mode;
      layers.push_back({layer.node, layer.macs,
                        fixed ? std::vector<Precision>{layer.precision}
                              : LadderOf(layer.precision, layer.op, options_.fallback, bfloat16),
                        ElementCount(layer.weight_shape)});
    }
    return layers;
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
        ValueSqnrDb(graph_, *best_, results, samples, Floats(), quantized_weights_));
    for (size_t i = 0; i < sqnr_db.size(); ++i) report_.layers[i].output_sqnr_db = sqnr_db[i];
    return absl::OkStatus();
  }

  absl::Status Calibrate() {
    // Everything that may be read as codes once all layers are int8.
    OCTET_ASSIGN_OR_RETURN(const quant::Selection widest, Selected(Precisions()));
    has_ranges_ = widest.quantizer_count > 0;
    if (!has_ranges_) return absl::OkStatus();
    Progress("calibrate", absl::StrCat(report_.calibration_samples, " samples"));
    if (data_.statistics) return ranges_.Take(graph_, widest, *data_.statistics);
    std::optional<HessianCollector> layers = weights_.WantedHessians(ByNode(WantedWeights()));
    Watch also;
    if (layers) {
      also.values = layers->values();
      also.visit = [&](size_t i, const ConstTensorView& value) { return layers->Add(i, value); };
    }
    OCTET_RETURN_IF_ERROR(ranges_.Observe(graph_, widest, calibrating_, Floats(), also));
    return layers ? weights_.TakeHessians(*std::move(layers)) : absl::OkStatus();
  }

  std::vector<Precision> Precisions() const {
    std::vector<Precision> precisions;
    precisions.reserve(report_.layers.size());
    for (const LayerReport& layer : report_.layers) precisions.push_back(layer.precision);
    return precisions;
  }

  quant::LayerPrecisions ByNode(const std::vector<Precision>& precisions) const {
    quant::LayerPrecisions layers;
    for (size_t i = 0; i < layers_.size(); ++i) layers[layers_[i]] = precisions[i];
    return layers;
  }

  absl::StatusOr<quant::Selection> Selected(const std::vector<Precision>& precisions) const {
    return quant::Select(graph_, ByNode(precisions));
  }

  // The graph with these precisions of its layers.
  absl::StatusOr<Graph> Rewritten(const std::vector<Precision>& precisions,
                                  const std::string& algorithm) {
    OCTET_RETURN_IF_ERROR(weights_.Quantize(ByNode(precisions)));
    OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, Selected(precisions));
    std::vector<quant::ValueQuantizer> quantizers;
    if (selection.quantizer_count > 0) {
      OCTET_ASSIGN_OR_RETURN(quantizers, ranges_.Quantizers(selection, algorithm));
    }
    OCTET_ASSIGN_OR_RETURN(Graph graph,
                           quant::Rewrite(graph_, selection, quantizers, weights_.eight_bits(),
                                          weights_.four_bits(), weights_.bfloat16()));
    ApplyBiases(biases_, selection, graph);
    MarkRowRanges(options_, selection.layers, graph);
    MarkAttention(options_, graph);
    if (options_.embeddings && AnyInt8(precisions)) {
      OCTET_RETURN_IF_ERROR(
          quant::QuantizeEmbeddings(options_.zero_non_finite, embeddings_, graph).status());
    }
    return graph;
  }

  absl::StatusOr<AccuracyValues> Measure(const std::vector<Precision>& precisions,
                                         const std::string& algorithm, size_t max_samples) {
    OCTET_ASSIGN_OR_RETURN(const Graph graph, Rewritten(precisions, algorithm));
    const size_t count = std::min(max_samples, exact_.size());
    const Samples samples = Samples(measuring_.samples).first(count);
    OCTET_ASSIGN_OR_RETURN(const auto outputs, RunAll(graph, samples, Quantized()));
    const std::span<const int64_t> labels(measuring_.labels);
    return CompareOutputs({exact_.begin(), exact_.begin() + static_cast<ptrdiff_t>(count)}, outputs,
                          labels.empty() ? labels : labels.first(count));
  }

  const Graph& graph_;
  const std::span<const Shape> example_shapes_;
  const CalibrationData& data_;
  const CalibrationData& validation_;
  const QuantizeOptions& options_;
  QuantizeReport report_;
  std::vector<NodeId> layers_;
  std::vector<const LayerRule*> rules_;  // of the layers; null: none
  LayerWeights weights_{graph_, options_};
  quant::EmbeddingsById embeddings_;
  BiasCorrections biases_;
  bool has_ranges_ = false;  // from samples, for some value
  ActivationRanges ranges_{options_};
  std::vector<std::vector<Tensor>> calibrating_;
  CalibrationData measuring_;
  std::vector<std::vector<Tensor>> exact_;
  kernels::WeightCache float_weights_{graph_.tensor_file()};
  kernels::WeightCache quantized_weights_{graph_.tensor_file()};
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

}  // namespace octet::runtime
