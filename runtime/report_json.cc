// ReportJson(), see quantize_report.h.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "kernels/cpu.h"
#include "runtime/algorithm_table.h"
#include "runtime/json_writer.h"
#include "runtime/quantize_report.h"

namespace octet::runtime {
namespace {

void WriteEnvironment(const ReportContext& context, JsonWriter& json) {
  json.BeginObject("tool");
  json.Set("name", "octet");
  json.Set("version", context.tool_version);
  json.EndObject();
  json.BeginObject("model");
  json.Set("path", context.model_path);
  json.Set("sha256", context.model_sha256);
  json.Set("bytes", context.model_bytes);
  json.Set("opset", context.opset);
  json.EndObject();
  json.BeginObject("host");
  json.Set("isa", kernels::InstructionSet());
  json.Set("cores", context.cores);
  json.Set("onednn", kernels::OneDnnVersion());
  json.EndObject();
}

void WriteSummary(const QuantizeReport& report, const ReportContext& context, JsonWriter& json) {
  const ReportTotals totals = Sum(report);
  json.BeginObject("summary");
  json.Set("layers_int8", totals.int8);
  json.Set("layers_int4", totals.int4);
  json.Set("layers_bf16", totals.bfloat16);
  json.Set("layers_float32", totals.float32);
  json.Set("mac_share_int8", report.int8_mac_share);
  json.Set("mac_share_bf16", report.bfloat16_mac_share);
  json.Set("weight_bytes_float32", totals.before);
  json.Set("weight_bytes", totals.after);
  json.Set("weight_bytes_resident", totals.resident);
  json.Set("bytes_saved", totals.before - std::min(totals.before, totals.after));
  if (totals.after > 0) {
    json.Set("compression", static_cast<double>(totals.before) / static_cast<double>(totals.after));
  }
  json.Set("verdict", Name(report.accuracy.verdict));
  if (report.held_out_samples > 0) {
    json.Set("output_sqnr_db", report.output_sqnr_db);
    for (const AccuracyMetric metric : {AccuracyMetric::kCosine, AccuracyMetric::kAgreement}) {
      if (const auto value = report.accuracy.values.Get(metric)) json.Set(Name(metric), *value);
    }
  }
  json.Set("seconds", report.seconds);
  json.BeginArray("stages");
  for (const auto& [stage, seconds] : context.stage_seconds) {
    json.BeginObject();
    json.Set("stage", stage);
    json.Set("seconds", seconds);
    json.EndObject();
  }
  json.EndArray();
  if (context.peak_rss_bytes > 0) json.Set("peak_rss_bytes", context.peak_rss_bytes);
  json.Set("self_check_kernels", report.checked_layers);
  json.Set("self_check_seconds", report.self_check_seconds);
  json.EndObject();
}

void WriteMemory(const ReportContext::Memory& memory, JsonWriter& json) {
  json.BeginObject("memory");
  json.Set("packed_weight_bytes", memory.packed_weight_bytes);
  json.Set("arena_bytes", memory.arena_bytes);
  json.Set("naive_bytes", memory.naive_bytes);
  if (memory.arena_bytes > 0) {
    json.Set("reuse",
             static_cast<double>(memory.naive_bytes) / static_cast<double>(memory.arena_bytes));
  }
  json.Set("scratchpad_bytes", memory.scratchpad_bytes);
  json.EndObject();
}

// Measured against float32, told from the model's random or own statistics, or not at all.
absl::string_view Quality(const QuantizeReport& report) {
  if (report.calibration_samples == 0) return "none";
  return report.estimated ? "estimated" : "measured";
}

void WriteAttempts(const std::vector<QuantizeReport::Attempt>& attempts, JsonWriter& json) {
  json.BeginArray("attempts");
  for (const QuantizeReport::Attempt& attempt : attempts) {
    json.BeginObject();
    json.Set("algorithm", attempt.algorithm);
    json.Set("output_sqnr_db", attempt.output_sqnr_db);
    json.EndObject();
  }
  json.EndArray();
}

void WriteCalibration(const QuantizeReport& report, JsonWriter& json) {
  json.BeginObject("calibration");
  json.Set("source", report.calibration_source);
  json.Set("samples", report.calibration_samples);
  json.Set("held_out_samples", report.held_out_samples);
  json.Set("quality", Quality(report));
  json.Set("activation_algorithm", report.activation_algorithm);
  WriteAttempts(report.attempts, json);
  if (report.bias_correction_sqnr_db != 0) {
    json.Set("bias_corrected_sqnr_db", report.bias_correction_sqnr_db);
    json.Set("bias_correction_kept", report.bias_correction);
  }
  json.EndObject();
}

void WriteAccuracy(const AccuracyReport& report, JsonWriter& json) {
  json.BeginObject("accuracy");
  const AccuracyValues& values = report.values;
  json.Set("verdict", Name(report.verdict));
  json.Set("metric", Name(report.target.metric));
  json.Set(report.target.is_drop ? "max_drop" : "target", report.target.value);
  json.Set("on_fail", Name(report.on_fail));
  json.Set("note", report.note);
  json.Set("source", report.source);
  json.Set("samples", values.samples);
  if (const auto measured = Measured(report.target, values)) {
    json.Set(report.target.is_drop ? "measured_drop" : "measured", *measured);
  }
  for (const AccuracyMetric metric :
       {AccuracyMetric::kSqnr, AccuracyMetric::kCosine, AccuracyMetric::kRelativeError,
        AccuracyMetric::kAgreement, AccuracyMetric::kTop1, AccuracyMetric::kF1}) {
    if (const auto value = values.Get(metric)) json.Set(Name(metric), *value);
  }
  if (values.labelled > 0) {
    json.Set("top1_float32",
             static_cast<double>(values.right_float32) / static_cast<double>(values.labelled));
    json.Set("f1_float32", values.f1_float32);
  }
  json.BeginObject("search");
  json.Set("measurements", report.attempts);
  json.Set("seconds", report.search_seconds);
  json.Set("out_of_time", report.out_of_time);
  json.EndObject();
  json.EndObject();
}

void WriteOverLayers(absl::string_view key, const std::optional<OverLayers>& over,
                     JsonWriter& json) {
  if (!over) return;
  json.BeginObject(key);
  json.Set("mean", over->mean);
  json.Set("worst", over->worst);
  json.EndObject();
}

void WriteAlgorithms(const QuantizeReport& report, JsonWriter& json) {
  json.BeginArray("algorithms");
  for (const AlgorithmRow& row : CompareAlgorithms(report)) {
    json.BeginObject();
    json.Set("name", row.name);
    WriteOverLayers("weights_per_tensor_sqnr_db", row.per_tensor, json);
    WriteOverLayers("weights_per_channel_sqnr_db", row.per_channel, json);
    WriteOverLayers("activations_sqnr_db", row.activations, json);
    if (row.output_sqnr_db) json.Set("output_sqnr_db", *row.output_sqnr_db);
    json.EndObject();
  }
  json.EndArray();
}

void WriteHistogram(const FoldedHistogram& histogram, JsonWriter& json) {
  json.BeginObject("histogram");
  json.Set("low", histogram.low);
  json.Set("bin_width", histogram.bin_width);
  json.Set("zeros", histogram.zeros);
  json.SetNumbers("counts", std::span<const uint64_t>(histogram.counts));
  json.EndObject();
}

void WriteWeightDetails(const WeightDetails& weights, JsonWriter& json) {
  if (weights.scales > 0) {
    json.Set("dtype", weights.dtype);
    json.Set("last_code", weights.last_code);
    json.Set("scheme", "symmetric");
    json.Set("granularity", weights.per_channel ? "per_channel" : "per_tensor");
    json.Set("scales", weights.scales);
    json.Set("smallest_scale", weights.smallest_scale);
    json.Set("largest_scale", weights.largest_scale);
    json.Set("worst_channel_sqnr_db", weights.worst_channel_sqnr_db);
    json.Set("dead_channels", weights.dead_channels);
  }
  json.Set("eight_bit_algorithm", weights.algorithm);
  json.BeginArray("algorithms");
  for (const WeightAlgorithm& algorithm : weights.algorithms) {
    json.BeginObject();
    json.Set("name", algorithm.name);
    if (algorithm.per_tensor_sqnr_db) json.Set("per_tensor_sqnr_db", *algorithm.per_tensor_sqnr_db);
    if (algorithm.per_channel_sqnr_db) {
      json.Set("per_channel_sqnr_db", *algorithm.per_channel_sqnr_db);
    }
    json.EndObject();
  }
  json.EndArray();
  WriteHistogram(weights.histogram, json);
}

void WriteWeights(const LayerReport& layer, const WeightDetails* details, JsonWriter& json) {
  json.BeginObject("weights");
  json.Set("bits", layer.weights.bits);
  json.Set("format", layer.weights.format);
  json.Set("algorithm", layer.weights.algorithm);
  json.Set("error_compensation", layer.weights.gptq ? "gptq" : "none");
  json.Set("weighting", layer.weights.weighted ? "activation" : "none");
  if (!layer.weights.expand.empty()) json.Set("expand", layer.weights.expand);
  json.Set("note", layer.weights.note);
  json.Set("sqnr_db", layer.weight_sqnr_db);
  json.Set("bytes_stored", layer.bytes_after);
  json.Set("bytes_resident", layer.bytes_resident);
  if (details != nullptr) WriteWeightDetails(*details, json);
  json.EndObject();
}

void WriteActivations(const ActivationDetails& activations, absl::string_view algorithm,
                      JsonWriter& json) {
  json.BeginObject("activations");
  json.Set("observed_min", activations.observed_min);
  json.Set("observed_max", activations.observed_max);
  json.Set("values", activations.values);
  if (const auto& served = activations.served) {
    json.Set("timing", "static");
    json.Set("dtype", absl::AsciiStrToLower(Name(served->dtype)));
    const bool centered = served->dtype == DataType::kInt8 || served->affine.zero_point == 128;
    json.Set("scheme", centered ? "symmetric" : "asymmetric");
    json.Set("granularity", "per_tensor");
    json.Set("algorithm", algorithm);
    json.Set("scale", served->affine.scale);
    json.Set("zero_point", served->affine.zero_point);
    json.Set("low", served->range.low);
    json.Set("high", served->range.high);
    json.Set("sqnr_db", served->sqnr_db);
    json.Set("clipped_share", served->clipped_share);
  }
  json.BeginArray("algorithms");
  for (const ActivationAlgorithm& other : activations.algorithms) {
    json.BeginObject();
    json.Set("name", other.name);
    json.Set("low", other.range.low);
    json.Set("high", other.range.high);
    json.Set("sqnr_db", other.sqnr_db);
    json.Set("clipped_share", other.clipped_share);
    if (other.fell_back) json.Set("fell_back", true);
    json.EndObject();
  }
  json.EndArray();
  WriteHistogram(activations.histogram, json);
  json.EndObject();
}

void WriteLayer(const QuantizeReport& report, size_t index, JsonWriter& json) {
  const LayerReport& layer = report.layers[index];
  json.BeginObject();
  json.Set("name", layer.node);
  json.Set("op", layer.op);
  json.Set("decision", Name(layer.precision));
  json.Set("reason", layer.reason);
  json.SetNumbers("weight_shape",
                  std::span<const int64_t>(layer.weight_shape.data(), layer.weight_shape.size()));
  json.Set("macs", layer.macs);
  json.Set("weight_sqnr_db", layer.weight_sqnr_db);
  if (layer.output_sqnr_db != 0) json.Set("output_sqnr_db", layer.output_sqnr_db);
  if (layer.alone_sqnr_db != 0) {
    json.Set("network_sqnr_if_only_this_quantized_db", layer.alone_sqnr_db);
  }
  json.Set("bytes_before", layer.bytes_before);
  json.Set("bytes_after", layer.bytes_after);
  json.Set("kernel", layer.kernel);
  json.SetTexts("transforms", layer.transforms);
  const LayerDetails* details = index < report.details.size() ? &report.details[index] : nullptr;
  WriteWeights(layer, details ? &details->weights : nullptr, json);
  if (details && details->activations) {
    WriteActivations(*details->activations, report.activation_algorithm, json);
  }
  json.EndObject();
}

}  // namespace

std::string ReportJson(const QuantizeReport& report, const ReportContext& context) {
  JsonWriter json;
  json.BeginObject();
  json.Set("schema", "octet-quantization-report/2");
  json.Set("mode", report.mode);
  if (!report.mode_reason.empty()) json.Set("mode_reason", report.mode_reason);
  json.BeginObject("recipe");
  json.Set("name", Name(report.recipe.recipe));
  json.Set("reason", report.recipe.reason);
  json.EndObject();
  if (!context.tool_version.empty()) WriteEnvironment(context, json);
  WriteSummary(report, context, json);
  if (context.memory) WriteMemory(*context.memory, json);
  json.SetTexts("transforms", report.transforms);
  WriteCalibration(report, json);
  WriteAccuracy(report.accuracy, json);
  if (!report.details.empty()) WriteAlgorithms(report, json);
  json.BeginArray("layers");
  const size_t layers = context.per_layer ? report.layers.size() : 0;
  for (size_t i = 0; i < layers; ++i) WriteLayer(report, i, json);
  json.EndArray();
  json.SetTexts("warnings", report.warnings);
  if (!context.configuration.empty()) json.Set("configuration", context.configuration);
  json.EndObject();
  return json.Finish();
}

}  // namespace octet::runtime
