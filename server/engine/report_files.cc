#include "server/engine/report_files.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "server/config/quantization_yaml.h"
#include "server/engine/load_options.h"
#include "server/report/report_page.h"

namespace octet::server {

absl::Status Describe(const std::string& path, const QuantizationConfig& settings,
                      runtime::ReportContext& context) {
  OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  context.model_sha256 = Hex(Sha256Of(file.bytes()));
  context.model_path = path;
  context.model_bytes = file.bytes().size();
  context.tool_version = OCTET_VERSION;
  context.cores = UsableCores();
  context.configuration = QuantizationYaml(settings);
  context.per_layer = settings.report.per_layer;
  return absl::OkStatus();
}

absl::Status WriteReports(const std::string& folder, const std::vector<std::string>& formats,
                          const runtime::QuantizeReport& report,
                          const runtime::ReportContext& context) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot create ", folder, ": ", error.message()));
  }
  const std::string json = runtime::ReportJson(report, context);
  for (const std::string& format : formats) {
    absl::Status written;
    if (format == "text") {
      written = WriteFile(folder + "/report.txt", runtime::ReportText(report, context.per_layer));
    } else if (format == "json") {
      written = WriteFile(folder + "/report.json", json);
    } else {
      written = WriteFile(folder + "/report.html", ReportPage(json));
    }
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
}

}  // namespace octet::server
