#include "runtime/load.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/import.h"
#include "graph/pass.h"
#include "kernels/cpu.h"
#include "kernels/operator.h"
#include "runtime/served_model.h"

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

absl::StatusOr<PreparedModel> ImportAndOptimize(const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(graph::ImportedModel model,
                         graph::ImportOnnxFile(path, kernels::Registry()));
  PreparedModel prepared{.graph = std::move(model.graph),
                         .batchable = model.batchable,
                         .example_shapes = std::move(model.example_shapes),
                         .warnings = std::move(model.warnings)};
  prepared.float32_weight_bytes = FloatWeightBytes(prepared.graph);
  OCTET_RETURN_IF_ERROR(graph::RunPasses(prepared.graph, graph::FloatPipeline()).status());
  for (const graph::Input& input : prepared.graph.inputs()) {
    const graph::Value& value = prepared.graph.value(input.value);
    prepared.inputs.push_back({value.name, input.border_type, value.type.shape});
  }
  for (const graph::Output& output : prepared.graph.outputs()) {
    prepared.outputs.push_back(
        {output.name, output.border_type, prepared.graph.value(output.value).type.shape});
  }
  return prepared;
}

absl::StatusOr<CalibrationData> Samples(const std::string& path, const PreparedModel& model,
                                        const LoadOptions& options) {
  if (options.dynamic) return CalibrationData();
  const std::string& configured = options.calibration_path;
  const std::string where = configured.empty() ? CalibrationBeside(path) : configured;
  if (where.empty()) {
    if (!options.samples_required) return CalibrationData();
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": static int8 needs calibration samples: a folder `calibration` beside the model, or "
        "quantization.calibration.path"));
  }
  Tell(options.progress, "read calibration data", where);
  return ReadCalibrationData(where, model.inputs, model.batchable, options.calibration_samples);
}

std::string DescribeCalibration(const QuantizeReport& report) {
  if (report.calibration_samples == 0) return "dynamic";
  return absl::StrFormat("static, %d samples", report.calibration_samples);
}

std::vector<int64_t> BatchSizes(bool batchable, int64_t max_batch_size) {
  if (!batchable) return {1};
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_batch_size; size *= 2) sizes.push_back(size);
  sizes.push_back(max_batch_size);
  return sizes;
}

}  // namespace

absl::StatusOr<PreparedModel> PrepareModel(const std::string& path, const LoadOptions& options) {
  // Teams of threads that wait for each other are slow where serving takes the same cores.
  kernels::PrepareThread(1);
  Tell(options.progress, "import", path);
  OCTET_ASSIGN_OR_RETURN(PreparedModel model, ImportAndOptimize(path));
  if (!options.int8) return model;
  OCTET_ASSIGN_OR_RETURN(const CalibrationData samples, Samples(path, model, options));
  QuantizeOptions quantization = options.quantization;
  quantization.progress = options.progress;
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, samples, quantization);
  if (!quantized.ok()) return Annotate(quantized.status(), absl::StrCat(path, ": quantization"));
  model.graph = std::move(quantized->graph);
  model.quantization = std::move(quantized->report);
  return model;
}

absl::StatusOr<std::shared_ptr<const CompiledModel>> LoadModel(const std::string& path,
                                                               const LoadOptions& options) {
  const Clock::time_point start = Clock::now();
  OCTET_ASSIGN_OR_RETURN(PreparedModel model, PrepareModel(path, options));
  ServedModelParts parts{.inputs = std::move(model.inputs),
                         .outputs = std::move(model.outputs),
                         .batchable = model.batchable,
                         .batch_sizes = BatchSizes(model.batchable, options.max_batch_size),
                         .threads = options.threads,
                         .float32_weight_bytes = model.float32_weight_bytes};
  parts.summary.mode = options.int8 ? "int8" : "fp32";
  parts.summary.warnings = std::move(model.warnings);
  if (const auto& report = model.quantization) {
    parts.summary.quantization_seconds = report->seconds;
    parts.summary.int8_mac_share = report->int8_mac_share;
    parts.summary.output_sqnr_db = report->output_sqnr_db;
    parts.summary.calibration = DescribeCalibration(*report);
    for (const std::string& warning : report->warnings) parts.summary.warnings.push_back(warning);
  }
  // Plans that come later may want a weight in another form than those of today.
  LoadOptions again = options;
  again.progress = nullptr;
  const auto rebuild = [path, again]() -> absl::StatusOr<graph::Graph> {
    OCTET_ASSIGN_OR_RETURN(PreparedModel rebuilt, PrepareModel(path, again));
    return std::move(rebuilt.graph);
  };
  parts.plans = std::make_unique<ModelPlans>(std::move(model.graph), rebuild);
  // Largest first: its layouts are the ones worth packing weights for.
  for (auto size = parts.batch_sizes.rbegin(); size != parts.batch_sizes.rend(); ++size) {
    Tell(options.progress, "compile", absl::StrCat("batch size ", *size));
    const std::vector<Shape> shapes =
        parts.batchable ? graph::WithFirstDim(model.example_shapes, *size) : model.example_shapes;
    const auto plan = parts.plans->Pin(shapes);
    if (!plan.ok()) return Annotate(plan.status(), path);
  }
  parts.plans->ReleaseWeights();
  parts.summary.load_seconds = SecondsSince(start);
  return MakeServedModel(std::move(parts));
}

}  // namespace octet::runtime
