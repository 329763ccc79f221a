// The report on a quantized model as files.

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/quantize_report.h"
#include "server/config/config.h"

namespace octet::server {

// Notes what the model at `path` is, and the settings that were used. Errors are those of reading
// the file.
absl::Status Describe(const std::string& path, const QuantizationConfig& settings,
                      runtime::ReportContext& context);

// report.txt (text), report.json (json) and report.html (html) in this folder, those of them that
// are asked for; the folder is made if it is not there. FailedPrecondition if it cannot be made,
// and errors of WriteFile().
absl::Status WriteReports(const std::string& folder, const std::vector<std::string>& formats,
                          const runtime::QuantizeReport& report,
                          const runtime::ReportContext& context);

}  // namespace octet::server
