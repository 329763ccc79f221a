// The report on a quantized model as files.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "runtime/quantize_report.h"
#include "server/config/config.h"

namespace octet::server {

// Notes what the model at `path` is, and the settings that were used. Errors are those of reading
// the file.
absl::Status Describe(const std::string& path, const QuantizationConfig& settings,
                      runtime::ReportContext& context);

// report.txt, report.json and report.html in this folder, which is made if it is not there.
// FailedPrecondition if it cannot be made, and errors of WriteFile().
absl::Status WriteReports(const std::string& folder, const runtime::QuantizeReport& report,
                          const runtime::ReportContext& context);

}  // namespace octet::server
