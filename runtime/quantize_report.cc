#include "runtime/quantize_report.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace octet::runtime {

ReportTotals Sum(const QuantizeReport& report) {
  ReportTotals totals;
  for (const LayerReport& layer : report.layers) {
    totals.before += layer.bytes_before;
    totals.after += layer.bytes_after;
    totals.resident += layer.bytes_resident;
    totals.int4 += quant::HasFourBitWeights(layer.precision) ? 1 : 0;
    ++(IsInt8(layer.precision)                          ? totals.int8
       : layer.precision == quant::Precision::kBFloat16 ? totals.bfloat16
                                                        : totals.float32);
  }
  return totals;
}

namespace {

// "u4g128 gptq".
std::string Format(const LayerReport& layer) {
  return absl::StrCat(layer.weights.format, layer.weights.gptq ? " gptq" : "",
                      layer.weights.expand == "run" ? " run" : "");
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

namespace {

// A row for each layer.
std::string LayersText(const QuantizeReport& report) {
  size_t width = 5;
  for (const LayerReport& layer : report.layers) width = std::max(width, layer.node.size());
  const int name_width = static_cast<int>(std::min<size_t>(width, 48));
  std::string text = absl::StrFormat("%-*s %-8s %-12s %-15s %12s %9s %9s %10s %10s  %s\n",
                                     name_width, "layer", "operator", "precision", "format", "MACs",
                                     "weights", "output", "bytes", "before", "kernel");
  for (const LayerReport& layer : report.layers) {
    absl::StrAppendFormat(&text, "%-*s %-8s %-12s %-15s %12d %6.1f dB %6.1f dB %10d %10d  %s%s%s\n",
                          name_width, layer.node, layer.op, Name(layer.precision), Format(layer),
                          layer.macs, layer.weight_sqnr_db, layer.output_sqnr_db, layer.bytes_after,
                          layer.bytes_before, layer.kernel, layer.reason.empty() ? "" : "  ",
                          layer.reason);
  }
  return text;
}

}  // namespace

std::string ReportText(const QuantizeReport& report, bool per_layer) {
  std::string text = per_layer ? LayersText(report) : "";
  const ReportTotals totals = Sum(report);
  absl::StrAppendFormat(&text, "\nmode                 %s, %d layers int8, ", report.mode,
                        totals.int8);
  if (totals.bfloat16 > 0) absl::StrAppendFormat(&text, "%d bf16, ", totals.bfloat16);
  absl::StrAppendFormat(
      &text, "%d float%s\n", totals.float32,
      totals.int4 == 0 ? "" : absl::StrFormat(", %d with 4-bit weights", totals.int4));
  if (!report.mode_reason.empty()) {
    absl::StrAppend(&text, "why                  ", report.mode_reason, "\n");
  }
  absl::StrAppend(&text, "recipe               ", Name(report.recipe.recipe), ": ",
                  report.recipe.reason, "\n");
  absl::StrAppendFormat(&text, "MACs in int8         %.1f %%\n", 100 * report.int8_mac_share);
  if (totals.bfloat16 > 0) {
    absl::StrAppendFormat(&text, "MACs in bf16         %.1f %%\n", 100 * report.bfloat16_mac_share);
  }
  absl::StrAppendFormat(
      &text, "weight bytes         %d of %d (%.3f), %d saved\n", totals.after, totals.before,
      totals.before == 0 ? 0.0
                         : static_cast<double>(totals.after) / static_cast<double>(totals.before),
      totals.before - totals.after);
  if (totals.resident != totals.after) {
    absl::StrAppendFormat(&text, "in memory            %d\n", totals.resident);
  }
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

}  // namespace octet::runtime
