#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/quantize_report.h"
#include "server/commands/quantize.h"
#include "server/engine/load_options.h"
#include "server/engine/plan_report.h"

namespace octet::server {

absl::Status Quantize(const QuantizeOptions& options, Console& console) {
  runtime::LoadOptions load = ToLoadOptions(options.model.settings, 1);
  if (!load.int8) {
    return absl::FailedPreconditionError(
        "quantization.mode of this model is fp32: there is nothing to quantize");
  }
  load.cache = ToPackCache(options.model.settings.quantization);
  load.cache.read = false;  // what is asked for is the work
  if (!options.output.empty()) {
    load.cache.file = options.output;
    load.cache.write = true;
  }
  // A line per stage, and once a second how far it is.
  load.progress = [&console, shown = std::string(), last = absl::InfinitePast()](
                      absl::string_view stage, const std::string& detail) mutable {
    const absl::Time now = absl::Now();
    if (stage == shown && now - last < absl::Seconds(1)) return;
    shown = std::string(stage);
    last = now;
    console.error << stage << ": " << detail << std::endl;
  };
  OCTET_ASSIGN_OR_RETURN(runtime::PreparedModel model,
                         runtime::PrepareModel(options.model.path, load));
  OCTET_RETURN_IF_ERROR(AddKernels(model));
  const runtime::QuantizeReport& report = *model.quantization;
  console.out << runtime::ReportText(report);
  for (const std::string& warning : model.warnings) console.error << warning << std::endl;
  if (!model.pack.empty()) console.error << "wrote " << model.pack << std::endl;
  if (model.pack.empty() && !options.output.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("--output: ", options.output, " could not be written"));
  }
  if (options.report_folder.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(options.report_folder, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("--report: cannot create ", options.report_folder, ": ", error.message()));
  }
  const std::string& folder = options.report_folder;
  OCTET_RETURN_IF_ERROR(WriteFile(folder + "/report.json", runtime::ReportJson(report)));
  return WriteFile(folder + "/report.txt", runtime::ReportText(report));
}

}  // namespace octet::server
