// The report on a quantized model, for people and for programs.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/program.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Aligned columns: what was decided for each layer and why, then the whole model.
std::string ReportText(const QuantizeReport& report, bool per_layer = true);

// What only the caller knows: what the report is of, and what it took. What is empty or 0 is left
// out of the report.
struct ReportContext {
  // What one context of the served model needs for its example shapes.
  struct Memory {
    size_t packed_weight_bytes = 0;
    size_t arena_bytes = 0;  // activations, whose memory is used again
    size_t naive_bytes = 0;  // what they would take without that
    size_t scratchpad_bytes = 0;
  };

  std::string tool_version;  // empty: nothing of tool, model and host
  std::string model_path, model_sha256;
  size_t model_bytes = 0;
  int opset = 0;
  int cores = 0;
  bool per_layer = true;                                      // false: only the totals
  std::vector<std::pair<std::string, double>> stage_seconds;  // in order
  size_t peak_rss_bytes = 0;
  std::optional<Memory> memory;
  std::string configuration;  // resolved, as YAML
};

// One JSON object; "schema" names its form. Histograms have no more than
// FoldedHistogram::kMostBins counts.
std::string ReportJson(const QuantizeReport& report, const ReportContext& context = {});

struct ReportTotals {
  size_t before = 0, after = 0, resident = 0;  // bytes of weights: float32, stored, in memory
  // Layers; int8 counts those with 4-bit weights too.
  int int8 = 0, int4 = 0, bfloat16 = 0, float32 = 0;
};
ReportTotals Sum(const QuantizeReport& report);

// Fills LayerReport::kernel from a plan of the quantized graph.
void FillKernels(const kernels::Program& program, QuantizeReport& report);

// The implementations that compute in int8, with how often each occurs: "36
// brgconv:avx512_core_vnni, 1 brg_matmul:avx512_core_vnni"; empty if none does.
std::string DescribeInt8Kernels(const kernels::Program& program);

}  // namespace octet::runtime
