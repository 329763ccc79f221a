// The report on a quantized model, for people and for programs.

#pragma once

#include <string>

#include "kernels/program.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Aligned columns: what was decided for each layer and why, then the whole model.
std::string ReportText(const QuantizeReport& report);

// One JSON object; "schema" names its form.
std::string ReportJson(const QuantizeReport& report);

// Fills LayerReport::kernel from a plan of the quantized graph.
void FillKernels(const kernels::Program& program, QuantizeReport& report);

// The implementations that compute in int8, with how often each occurs: "36
// brgconv:avx512_core_vnni, 1 brg_matmul:avx512_core_vnni"; empty if none does.
std::string DescribeInt8Kernels(const kernels::Program& program);

}  // namespace octet::runtime
