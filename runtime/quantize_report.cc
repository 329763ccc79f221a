#include "runtime/quantize_report.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace octet::runtime {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

Value Text(absl::string_view text) {
  Value value;
  value.set_string_value(std::string(text));
  return value;
}

Value Number(double number) {
  Value value;
  value.set_number_value(std::isfinite(number) ? number : 0);
  return value;
}

void Set(Struct& object, const std::string& key, Value value) {
  (*object.mutable_fields())[key] = std::move(value);
}

Value Nested(Struct object) {
  Value value;
  *value.mutable_struct_value() = std::move(object);
  return value;
}

Value Texts(const std::vector<std::string>& texts) {
  Value value;
  value.mutable_list_value();
  for (const std::string& text : texts) *value.mutable_list_value()->add_values() = Text(text);
  return value;
}

Struct LayerJson(const LayerReport& layer) {
  Struct object;
  Set(object, "name", Text(layer.node));
  Set(object, "op", Text(layer.op));
  Set(object, "decision", Text(Name(layer.precision)));
  Set(object, "reason", Text(layer.reason));
  Value shape;
  for (const int64_t dim : layer.weight_shape) {
    *shape.mutable_list_value()->add_values() = Number(static_cast<double>(dim));
  }
  Set(object, "weight_shape", shape);
  Set(object, "macs", Number(static_cast<double>(layer.macs)));
  Set(object, "weight_sqnr_db", Number(layer.weight_sqnr_db));
  if (layer.output_sqnr_db != 0) Set(object, "output_sqnr_db", Number(layer.output_sqnr_db));
  if (layer.alone_sqnr_db != 0) {
    Set(object, "network_sqnr_if_only_this_quantized_db", Number(layer.alone_sqnr_db));
  }
  Set(object, "bytes_before", Number(static_cast<double>(layer.bytes_before)));
  Set(object, "bytes_after", Number(static_cast<double>(layer.bytes_after)));
  Set(object, "kernel", Text(layer.kernel));
  return object;
}

struct Totals {
  size_t before = 0, after = 0;
  int int8 = 0, float32 = 0;
};

Struct AccuracyJson(const AccuracyReport& report) {
  Struct object;
  const AccuracyValues& values = report.values;
  Set(object, "verdict", Text(Name(report.verdict)));
  Set(object, "metric", Text(Name(report.target.metric)));
  Set(object, report.target.is_drop ? "max_drop" : "target", Number(report.target.value));
  Set(object, "on_fail", Text(Name(report.on_fail)));
  Set(object, "note", Text(report.note));
  Set(object, "source", Text(report.source));
  Set(object, "samples", Number(static_cast<double>(values.samples)));
  if (const auto measured = Measured(report.target, values)) {
    Set(object, report.target.is_drop ? "measured_drop" : "measured", Number(*measured));
  }
  for (const AccuracyMetric metric :
       {AccuracyMetric::kSqnr, AccuracyMetric::kCosine, AccuracyMetric::kRelativeError,
        AccuracyMetric::kAgreement, AccuracyMetric::kTop1}) {
    if (const auto value = values.Get(metric))
      Set(object, std::string(Name(metric)), Number(*value));
  }
  if (values.labelled > 0) {
    Set(object, "top1_float32",
        Number(static_cast<double>(values.right_float32) / static_cast<double>(values.labelled)));
  }
  Struct search;
  Set(search, "measurements", Number(report.attempts));
  Set(search, "seconds", Number(report.search_seconds));
  Value out_of_time;
  out_of_time.set_bool_value(report.out_of_time);
  Set(search, "out_of_time", out_of_time);
  Set(object, "search", Nested(std::move(search)));
  return object;
}

Totals Sum(const QuantizeReport& report) {
  Totals totals;
  for (const LayerReport& layer : report.layers) {
    totals.before += layer.bytes_before;
    totals.after += layer.bytes_after;
    ++(layer.precision == quant::Precision::kFloat32 ? totals.float32 : totals.int8);
  }
  return totals;
}

Struct SummaryJson(const QuantizeReport& report) {
  const Totals totals = Sum(report);
  Struct summary;
  Set(summary, "layers_int8", Number(totals.int8));
  Set(summary, "layers_float32", Number(totals.float32));
  Set(summary, "mac_share_int8", Number(report.int8_mac_share));
  Set(summary, "weight_bytes_float32", Number(static_cast<double>(totals.before)));
  Set(summary, "weight_bytes", Number(static_cast<double>(totals.after)));
  Set(summary, "bytes_saved", Number(static_cast<double>(totals.before - totals.after)));
  if (report.held_out_samples > 0) {
    Set(summary, "output_sqnr_db", Number(report.output_sqnr_db));
  }
  Set(summary, "seconds", Number(report.seconds));
  Set(summary, "self_check_kernels", Number(report.checked_layers));
  Set(summary, "self_check_seconds", Number(report.self_check_seconds));
  return summary;
}

Struct CalibrationJson(const QuantizeReport& report) {
  Struct calibration;
  Set(calibration, "source", Text(report.calibration_source));
  const char* const measured = report.estimated ? "estimated" : "measured";
  Set(calibration, "quality", Text(report.calibration_samples == 0 ? "none" : measured));
  Set(calibration, "samples", Number(static_cast<double>(report.calibration_samples)));
  Set(calibration, "held_out_samples", Number(static_cast<double>(report.held_out_samples)));
  Set(calibration, "activation_algorithm", Text(report.activation_algorithm));
  Value attempts;
  attempts.mutable_list_value();
  for (const auto& attempt : report.attempts) {
    Struct& row = *attempts.mutable_list_value()->add_values()->mutable_struct_value();
    Set(row, "algorithm", Text(attempt.algorithm));
    Set(row, "output_sqnr_db", Number(attempt.output_sqnr_db));
  }
  Set(calibration, "attempts", attempts);
  if (report.bias_correction_sqnr_db != 0) {
    Set(calibration, "bias_corrected_sqnr_db", Number(report.bias_correction_sqnr_db));
  }
  return calibration;
}

}  // namespace

void FillKernels(const kernels::Program& program, QuantizeReport& report) {
  absl::flat_hash_map<std::string, std::string> by_node;
  for (const kernels::Step& step : program.steps) {
    if (step.macs > 0) by_node[step.node] = step.kernel->implementation();
  }
  for (LayerReport& layer : report.layers) {
    if (const auto found = by_node.find(layer.node); found != by_node.end()) {
      layer.kernel = found->second;
    }
  }
}

std::string DescribeInt8Kernels(const kernels::Program& program) {
  std::map<std::string, int> counts;
  for (const kernels::Step& step : program.steps) {
    if (step.int8 && step.macs > 0) ++counts[step.kernel->implementation()];
  }
  std::vector<std::pair<std::string, int>> rows(counts.begin(), counts.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return absl::StrJoin(rows, ", ", [](std::string* out, const auto& row) {
    absl::StrAppend(out, row.second, " ", row.first);
  });
}

std::string ReportText(const QuantizeReport& report) {
  size_t width = 5;
  for (const LayerReport& layer : report.layers) width = std::max(width, layer.node.size());
  const int name_width = static_cast<int>(std::min<size_t>(width, 48));
  std::string text = absl::StrFormat("%-*s %-8s %-12s %12s %9s %9s %10s %10s  %s\n", name_width,
                                     "layer", "operator", "precision", "MACs", "weights", "output",
                                     "bytes", "before", "kernel");
  for (const LayerReport& layer : report.layers) {
    absl::StrAppendFormat(&text, "%-*s %-8s %-12s %12d %6.1f dB %6.1f dB %10d %10d  %s%s%s\n",
                          name_width, layer.node, layer.op, Name(layer.precision), layer.macs,
                          layer.weight_sqnr_db, layer.output_sqnr_db, layer.bytes_after,
                          layer.bytes_before, layer.kernel, layer.reason.empty() ? "" : "  ",
                          layer.reason);
  }
  const Totals totals = Sum(report);
  absl::StrAppendFormat(&text, "\nmode                 %s, %d layers int8, %d float\n", report.mode,
                        totals.int8, totals.float32);
  absl::StrAppend(&text, "recipe               ", Name(report.recipe.recipe), ": ",
                  report.recipe.reason, "\n");
  absl::StrAppendFormat(&text, "MACs in int8         %.1f %%\n", 100 * report.int8_mac_share);
  absl::StrAppendFormat(
      &text, "weight bytes         %d of %d (%.3f), %d saved\n", totals.after, totals.before,
      totals.before == 0 ? 0.0
                         : static_cast<double>(totals.after) / static_cast<double>(totals.before),
      totals.before - totals.after);
  if (report.held_out_samples > 0) {
    absl::StrAppendFormat(&text, "output SQNR          %.1f dB on %d %s\n", report.output_sqnr_db,
                          report.held_out_samples, report.accuracy.source);
  } else {
    absl::StrAppend(&text, "output SQNR          not measured: no held-out samples\n");
  }
  absl::StrAppend(&text, "accuracy             ", Describe(report.accuracy), "\n");
  if (report.accuracy.attempts > 0) {
    absl::StrAppendFormat(&text, "search               %d measurements in %.2f s%s\n",
                          report.accuracy.attempts, report.accuracy.search_seconds,
                          report.accuracy.out_of_time ? ", ended by its time budget" : "");
  }
  for (const auto& attempt : report.attempts) {
    absl::StrAppendFormat(&text, "  ranges by %-16s %.1f dB%s\n", attempt.algorithm,
                          attempt.output_sqnr_db,
                          attempt.algorithm == report.activation_algorithm ? "  chosen" : "");
  }
  if (report.bias_correction_sqnr_db != 0) {
    absl::StrAppendFormat(&text, "  with biases corrected    %.1f dB%s\n",
                          report.bias_correction_sqnr_db, report.bias_correction ? "  kept" : "");
  }
  if (!report.calibration_source.empty()) {
    absl::StrAppendFormat(&text, "calibration          %d samples from %s\n",
                          report.calibration_samples, report.calibration_source);
  }
  if (report.checked_layers > 0) {
    absl::StrAppendFormat(&text, "self-check           %d distinct int8 kernels in %.2f s\n",
                          report.checked_layers, report.self_check_seconds);
  }
  absl::StrAppendFormat(&text, "time                 %.2f s\n", report.seconds);
  for (const std::string& warning : report.warnings) {
    absl::StrAppend(&text, "warning: ", warning, "\n");
  }
  return text;
}

std::string ReportJson(const QuantizeReport& report) {
  Struct object;
  Set(object, "schema", Text("octet-quantization-report/1"));
  Set(object, "mode", Text(report.mode));
  Set(object, "summary", Nested(SummaryJson(report)));
  Set(object, "transforms", Texts(report.transforms));
  Set(object, "calibration", Nested(CalibrationJson(report)));
  Set(object, "accuracy", Nested(AccuracyJson(report.accuracy)));
  Value layers;
  layers.mutable_list_value();
  for (const LayerReport& layer : report.layers) {
    *layers.mutable_list_value()->add_values()->mutable_struct_value() = LayerJson(layer);
  }
  Set(object, "layers", layers);
  Set(object, "warnings", Texts(report.warnings));
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  const bool written = google::protobuf::util::MessageToJsonString(object, &json, options).ok();
  return written ? json : "{}";
}

}  // namespace octet::runtime
