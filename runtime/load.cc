#include "runtime/load.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/import.h"
#include "graph/pipeline.h"
#include "kernels/cpu.h"
#include "kernels/operator.h"
#include "runtime/attention_products.h"
#include "runtime/check_kernels.h"
#include "runtime/equalize_channels.h"
#include "runtime/equalize_layers.h"
#include "runtime/held_out.h"
#include "runtime/layer_list.h"
#include "runtime/quantize_report.h"
#include "runtime/recipe.h"
#include "runtime/served_model.h"
#include "runtime/served_ranges.h"
#include "runtime/smooth_activations.h"
#include "runtime/warm_start.h"

namespace octet::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Tell(const ProgressFunction& progress, absl::string_view stage, const std::string& detail) {
  if (progress) progress(stage, detail);
}

size_t FloatWeightBytes(const graph::Graph& graph) {
  size_t bytes = 0;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto& constant = graph.value(static_cast<graph::ValueId>(i)).constant;
    if (constant && constant->dtype() == DataType::kFloat32) bytes += constant->byte_size();
  }
  return bytes;
}

absl::StatusOr<PreparedModel> ImportAndOptimize(const std::string& path,
                                                const LoadOptions& options) {
  ReadRecord files = options.earlier ? options.earlier->files.Rereading() : ReadRecord();
  const std::shared_ptr<TensorFile> weights = TensorFile::In(TemporaryDirectory());
  OCTET_ASSIGN_OR_RETURN(graph::ImportedModel model,
                         graph::ImportOnnxFile(path, kernels::Registry(), &files, weights));
  PreparedModel prepared{.graph = std::move(model.graph),
                         .batchable = model.batchable,
                         .example_shapes = std::move(model.example_shapes),
                         .opset = model.opset,
                         .warnings = std::move(model.warnings)};
  prepared.files = std::move(files);
  prepared.float32_weight_bytes = FloatWeightBytes(prepared.graph);
  const std::vector<graph::Pass> passes =
      graph::FloatPipeline({.strip_quantization = options.strip_quantization,
                            .fold_batch_norm = options.fold_batch_norm});
  OCTET_RETURN_IF_ERROR(graph::RunPasses(prepared.graph, passes).status());
  for (const graph::Input& input : prepared.graph.inputs()) {
    const graph::Value& value = prepared.graph.value(input.value);
    prepared.inputs.push_back({value.name, input.border_type, value.type.shape});
  }
  for (const graph::Output& output : prepared.graph.outputs()) {
    prepared.outputs.push_back(
        {output.name, output.border_type, prepared.graph.value(output.value).type.shape});
  }
  if (options.watch != nullptr) {
    OCTET_RETURN_IF_ERROR(WatchRanges(*options.watch, prepared.batchable, prepared.example_shapes,
                                      prepared.graph, prepared.outputs));
  }
  malloc_trim(0);  // the parsed file and unfolded weights lie between what is kept
  return prepared;
}

std::string DescribeCalibration(const QuantizeReport& report) {
  if (report.mode == Name(Mode::kFloat32)) return "none";
  if (report.mode == Name(Mode::kBFloat16)) return "none needed";
  if (report.calibration_samples == 0) return "dynamic";
  const bool by_token = report.activation_algorithm.empty();
  return absl::StrFormat("%s, %d samples", by_token ? "dynamic" : "static",
                         report.calibration_samples);
}

ModelAccuracy SummaryOf(const AccuracyReport& report) {
  return {.verdict = std::string(Name(report.verdict)),
          .metric = absl::StrCat(Name(report.target.metric), report.target.is_drop ? "_loss" : ""),
          .target = report.target.value,
          .measured = Measured(report.target, report.values),
          .description = Describe(report)};
}

std::vector<int64_t> BatchSizes(bool batchable, int64_t max_batch_size) {
  if (!batchable) return {1};
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_batch_size; size *= 2) sizes.push_back(size);
  sizes.push_back(max_batch_size);
  return sizes;
}

// What was done to the float network.
struct Transformed {
  std::vector<std::string> names;      // for reports
  std::vector<std::string> equalized;  // layers
};

// What makes the float network easier to quantize without changing what it computes. Only samples
// that ranges are taken from may be seen.
absl::StatusOr<std::vector<std::string>> Smooth(const CalibrationData& data,
                                                const CalibrationData& validation,
                                                const LoadOptions& options,
                                                std::span<const Shape> example_shapes,
                                                graph::Graph& graph,
                                                std::vector<SmoothedActivation>& smoothed) {
  using Smoothing = QuantizeOptions::Smoothing;
  const QuantizeOptions& quantization = options.quantization;
  OCTET_ASSIGN_OR_RETURN(const RecipeChoice choice,
                         ChooseRecipe(graph, example_shapes, quantization.recipe));
  const bool on = quantization.smoothing == Smoothing::kOn;
  const bool automatic = quantization.smoothing == Smoothing::kAuto;
  const bool products = on || (automatic && SmoothsActivations(choice.recipe));
  const bool convolutions = on || (automatic && EqualizesChannels(choice.recipe));
  std::vector<std::string> transforms;
  if ((!products && !convolutions) || data.samples.empty()) return transforms;
  Tell(options.progress, "smooth activations", absl::StrCat(data.samples.size(), " samples"));
  const std::vector<std::vector<Tensor>> calibrating =
      validation.samples.empty() ? HoldOut(data, quantization.held_out_share).calibrating
                                 : data.samples;
  if (products) {
    std::optional<double> alpha = quantization.smoothing_alpha;
    if (!alpha && TakesRangesByToken(quantization, choice.recipe)) alpha = kSmoothingByToken;
    OCTET_ASSIGN_OR_RETURN(SmoothingReport report,
                           SmoothActivations(graph, calibrating, alpha, quantization.threads));
    if (report.activations > 0) {
      transforms.push_back(
          absl::StrCat("smooth_quant(", alpha ? absl::StrCat(*alpha) : "auto", ")"));
    }
    smoothed = std::move(report.smoothed);
  }
  if (convolutions) {
    OCTET_ASSIGN_OR_RETURN(EqualizationReport report,
                           EqualizeChannels(graph, calibrating, quantization.threads));
    if (!report.equalized.empty()) {
      transforms.push_back(absl::StrCat("equalized_channels(", report.equalized.size(), ")"));
    }
    std::move(report.equalized.begin(), report.equalized.end(), std::back_inserter(smoothed));
  }
  return transforms;
}

// What precedes the ranges: of an earlier load the same again, else what the options and the recipe
// ask for. Statistics are of the network as it is, so they leave it so.
absl::StatusOr<Transformed> Transform(const CalibrationData& samples,
                                      const CalibrationData& validation, const LoadOptions& options,
                                      PreparedModel& model) {
  Transformed done;
  if (!IsInteger(model.mode)) return done;
  if (WantsEqualization(options.quantization) && samples.statistics == nullptr) {
    OCTET_ASSIGN_OR_RETURN(done.equalized, EqualizeConvolutions(model.graph));
    if (!done.equalized.empty()) done.names.push_back(kEqualization);
  }
  if (options.earlier) {
    model.smoothing = options.earlier->smoothing;
    OCTET_RETURN_IF_ERROR(SmoothAsBefore(model.graph, model.smoothing));
    return done;
  }
  OCTET_ASSIGN_OR_RETURN(
      const std::vector<std::string> smoothed,
      Smooth(samples, validation, options, model.example_shapes, model.graph, model.smoothing));
  done.names.insert(done.names.end(), smoothed.begin(), smoothed.end());
  return done;
}

void FillTransforms(const Transformed& done, const graph::Graph& graph, QuantizeReport& report) {
  report.transforms = done.names;
  if (const size_t lookups = graph.NodesOfType("octet.Embedding").size(); lookups > 0) {
    report.transforms.push_back(absl::StrCat("int8_embeddings(", lookups, ")"));
  }
  if (HasBFloat16Attention(graph)) report.transforms.emplace_back("bfloat16_attention");
  for (LayerReport& layer : report.layers) {
    const auto& names = done.equalized;
    if (std::find(names.begin(), names.end(), layer.node) == names.end()) continue;
    layer.transforms.push_back(kEqualization);
  }
}

// Quantizes, and again without the layers whose kernels turn out wrong, until all are right.
absl::Status QuantizeAndCheck(const CalibrationData& samples, const CalibrationData& validation,
                              const LoadOptions& options, PreparedModel& model) {
  const Clock::time_point start = Clock::now();
  OCTET_ASSIGN_OR_RETURN(const Transformed transformed,
                         Transform(samples, validation, options, model));
  const graph::Graph floats = std::move(model.graph);
  QuantizeOptions quantization = options.quantization;
  quantization.mode = model.mode;
  quantization.progress = options.progress;
  absl::flat_hash_map<std::string, std::string> wrong;  // by layer: the warning
  int checked = 0;
  double quantize_seconds = SecondsSince(start), check_seconds = 0;
  for (bool again = true; again;) {
    again = false;
    OCTET_ASSIGN_OR_RETURN(
        QuantizedModel quantized,
        QuantizeModel(floats, model.example_shapes, samples, quantization, validation));
    model.graph = std::move(quantized.graph);
    model.quantization = std::move(quantized.report);
    model.weights = std::make_unique<kernels::WeightCache>();
    quantize_seconds += model.quantization->seconds;
    if (!options.self_check) break;
    OCTET_ASSIGN_OR_RETURN(const std::vector<KernelMismatch> mismatches,
                           CheckKernels(model, options));
    checked += model.quantization->checked_layers;
    check_seconds += model.quantization->self_check_seconds;
    for (const KernelMismatch& mismatch : mismatches) {
      const bool added =
          wrong.try_emplace(mismatch.node, Describe(mismatch, "it runs in float32")).second;
      if (!added) return absl::InternalError(wrong.at(mismatch.node));
      quantization.layers.insert(quantization.layers.begin(),
                                 RuleForName(mismatch.node, Mode::kFloat32));
      again = true;
    }
  }
  QuantizeReport& report = *model.quantization;
  for (LayerReport& layer : report.layers) {
    const auto found = wrong.find(layer.node);
    if (found == wrong.end()) continue;
    layer.reason = "kernel_mismatch";
    report.warnings.push_back(found->second);
  }
  if (samples.statistics != nullptr) {
    std::string left_out = LeftOutWithoutSamples(report, quantization);
    if (!left_out.empty()) report.warnings.push_back(std::move(left_out));
  }
  FillTransforms(transformed, model.graph, report);
  report.seconds = quantize_seconds;
  report.checked_layers = checked;
  report.self_check_seconds = check_seconds;
  return absl::OkStatus();
}

// Compiles and pins the plans of the batch sizes, and forgets the weights that they do not use.
absl::Status CompileBatchSizes(std::span<const Shape> example_shapes, const LoadOptions& options,
                               std::optional<QuantizeReport>& report, ServedModelParts& parts) {
  int64_t rows_per_run = options.rows_per_run;
  if (!parts.batchable) {
    rows_per_run = 0;
  } else if (rows_per_run == 0 && options.max_batch_size > 1) {
    Tell(options.progress, "measure", "how many rows of a batch to run at a time");
    kernels::PrepareThread(options.threads);
    absl::StatusOr<int64_t> measured =
        MeasureRowsPerRun(*parts.plans, example_shapes, parts.batch_sizes.back());
    kernels::PrepareThread(1);
    OCTET_ASSIGN_OR_RETURN(rows_per_run, std::move(measured));
  }
  parts.rows_per_run = RowsPerRun(rows_per_run, example_shapes);
  // Largest first: its layouts are the ones worth packing weights for.
  for (auto size = parts.batch_sizes.rbegin(); size != parts.batch_sizes.rend(); ++size) {
    const BatchRuns runs = SplitBatch(*size, rows_per_run, parts.batch_sizes);
    Tell(options.progress, "compile", absl::StrCat("batch size ", *size));
    const std::vector<Shape> shapes =
        parts.batchable ? graph::WithFirstDim(example_shapes, runs.rows)
                        : std::vector<Shape>(example_shapes.begin(), example_shapes.end());
    OCTET_ASSIGN_OR_RETURN(const auto plan, parts.plans->Pin(shapes, runs.max_runs));
    parts.summary.kernels = DescribeInt8Kernels(plan->program);
    if (report) FillKernels(plan->program, *report);
  }
  parts.plans->ReleaseWeights();
  parts.plans->KeepPinned();
  malloc_trim(0);  // before the streams get their arenas
  return absl::OkStatus();
}

// The graph of a model whose weights were released. To a caller who asked for a new shape it makes
// no difference why there is none: the server is not in a state to answer.
absl::StatusOr<graph::Graph> PrepareAgain(const std::string& path, const LoadOptions& options) {
  absl::StatusOr<PreparedModel> model = PrepareModel(path, options);
  if (model.ok()) return std::move(model->graph);
  return absl::FailedPreconditionError(absl::StrCat(
      "these input shapes need weights that are read from the model's files again; load the model "
      "again: ",
      model.status().message()));
}

// Puts into the report what the processor has to do with the model's mode.
void TellOfProcessor(const LoadOptions& options, PreparedModel& model) {
  QuantizeReport& report = *model.quantization;
  report.mode_reason = model.mode_reason;
  using Range = QuantizeOptions::WeightRange;
  const bool int8 = std::any_of(report.layers.begin(), report.layers.end(),
                                [](const auto& layer) { return IsInt8(layer.precision); });
  if (!int8 || options.quantization.weight_range == Range::kReduced) return;
  std::string warning =
      SaturationWarning(ThisProcessor(), options.quantization.weight_range == Range::kAuto);
  if (!warning.empty()) report.warnings.push_back(std::move(warning));
}

// Says so if the disk could not take what was to be there.
void TellOfTensorFile(PreparedModel& model) {
  const auto& file = model.graph.tensor_file();
  if (file == nullptr || file->status().ok()) return;
  model.warnings.push_back(absl::StrCat(
      "not all float32 weights were kept out of memory while the model was loaded, since no "
      "temporary file could hold them (TMPDIR says where): ",
      file->status().message()));
}

absl::StatusOr<PreparedModel> Prepare(const std::string& path, const LoadOptions& options) {
  // Teams of threads that wait for each other are slow where serving takes the same cores.
  kernels::PrepareThread(1);
  Tell(options.progress, "import", path);
  OCTET_ASSIGN_OR_RETURN(PreparedModel model, ImportAndOptimize(path, options));
  ResolvedMode resolved = Resolve(options.mode, ThisProcessor());
  model.mode = resolved.mode;
  model.mode_reason = resolved.reason;
  for (std::string& warning : resolved.warnings) model.warnings.push_back(std::move(warning));
  if (!Quantizes(resolved.mode, options.quantization.layers)) {
    // A model may bring quantizers of its own; nothing but the model can say what replaces them.
    if (!options.self_check) return model;
    OCTET_ASSIGN_OR_RETURN(const std::vector<KernelMismatch> mismatches,
                           CheckKernels(model, options));
    for (const KernelMismatch& mismatch : mismatches) {
      model.warnings.push_back(Describe(mismatch, "the model's own quantizers are kept"));
    }
    return model;
  }
  const absl::Status quantized = QuantizeOnce(path, options, QuantizeAndCheck, model);
  if (!quantized.ok()) return Annotate(quantized, absl::StrCat(path, ": quantization"));
  if (model.quantization) TellOfProcessor(options, model);  // an earlier load has been told
  return model;
}

}  // namespace

absl::StatusOr<PreparedModel> PrepareModel(const std::string& path, const LoadOptions& options) {
  absl::StatusOr<PreparedModel> model = Prepare(path, options);
  if (model.ok()) TellOfTensorFile(*model);
  return model;
}

absl::StatusOr<std::shared_ptr<const CompiledModel>> LoadModel(const std::string& path,
                                                               const LoadOptions& options) {
  const Clock::time_point start = Clock::now();
  OCTET_ASSIGN_OR_RETURN(PreparedModel model, PrepareModel(path, options));
  if (model.quantization) kernels::ForgetKernels();  // of runs that calibrated and measured
  ServedModelParts parts{.inputs = std::move(model.inputs),
                         .outputs = std::move(model.outputs),
                         .batchable = model.batchable,
                         .batch_sizes = BatchSizes(model.batchable, options.max_batch_size),
                         .threads = options.threads,
                         .float32_weight_bytes = model.float32_weight_bytes};
  parts.summary.mode = std::string(Name(model.mode));
  parts.summary.mode_asked = std::string(Name(options.mode));
  parts.summary.mode_reason = model.mode_reason;
  parts.summary.warnings = std::move(model.warnings);
  if (const auto& report = model.quantization) {
    parts.summary.quantization_seconds = report->seconds;
    parts.summary.int8_mac_share = report->int8_mac_share;
    parts.summary.bfloat16_mac_share = report->bfloat16_mac_share;
    parts.summary.output_sqnr_db = report->output_sqnr_db;
    parts.summary.calibration = DescribeCalibration(*report);
    parts.summary.start = report->start;
    parts.summary.accuracy = SummaryOf(report->accuracy);
    if (report->mode == Name(Mode::kFloat32)) parts.summary.mode = report->mode;
    parts.summary.ranges =
        std::make_shared<const ServedRanges>(RangesOf(model.graph, model.smoothing, *report));
    for (const std::string& warning : report->warnings) parts.summary.warnings.push_back(warning);
  }
  // Plans that come later may want a weight in another form than those of today.
  LoadOptions again = options;
  again.progress = nullptr;
  again.report = nullptr;
  again.self_check = false;
  again.cache = {};
  again.save_statistics.clear();
  if (model.quantization) again.quantization.decided = DecisionsOf(*model.quantization);
  again.earlier = {std::move(model.files), std::move(model.smoothing), std::move(model.pack),
                   std::move(model.fingerprint)};
  const auto rebuild = [path, again] { return PrepareAgain(path, again); };
  parts.plans =
      std::make_unique<ModelPlans>(std::move(model.graph), rebuild, std::move(model.weights));
  const absl::Status compiled =
      CompileBatchSizes(model.example_shapes, options, model.quantization, parts);
  if (!compiled.ok()) return Annotate(compiled, path);
  if (options.report && model.quantization) options.report(*model.quantization);
  parts.summary.load_seconds = SecondsSince(start);
  return MakeServedModel(std::move(parts));
}

}  // namespace octet::runtime
