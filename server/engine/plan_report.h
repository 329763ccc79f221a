// Completes a quantization report with what was compiled.

#pragma once

#include "absl/status/statusor.h"
#include "runtime/load.h"
#include "runtime/quantize_report.h"

namespace octet::server {

// Compiles the quantized model for its example shapes, notes each layer's kernel in its report and
// returns what memory one context of it takes.
absl::StatusOr<runtime::ReportContext::Memory> AddKernels(runtime::PreparedModel& model);

}  // namespace octet::server
