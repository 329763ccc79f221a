#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "quant/range_estimator.h"
#include "runtime/algorithm_table.h"
#include "runtime/quantize_report.h"
#include "server/commands/quantize.h"
#include "server/engine/load_options.h"
#include "server/engine/plan_report.h"
#include "server/engine/report_files.h"
#include "server/engine/stage_times.h"

namespace octet::server {
namespace {

// Of this program: getrusage() would tell that of the one that started it, if that was more.
size_t PeakRssBytes() {
  constexpr absl::string_view kPeak = "VmHWM:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    absl::string_view rest = line;
    size_t kilobytes = 0;
    if (!absl::ConsumePrefix(&rest, kPeak)) continue;
    return absl::SimpleAtoi(absl::StripSuffix(rest, "kB"), &kilobytes) ? kilobytes * 1024 : 0;
  }
  return 0;
}

// What is told of the way to a prepared model.
class Progress {
 public:
  explicit Progress(Console& console) : console_(console) {}

  // A line per stage, and once a second how far it is.
  void Tell(absl::string_view stage, const std::string& detail) {
    const absl::Time now = absl::Now();
    times_.Tell(stage, now);
    // What a report compares is more than what quantizing takes.
    if (stage == "compare algorithms" && peak_ == 0) peak_ = PeakRssBytes();
    if (stage == shown_ && now - last_ < absl::Seconds(1)) return;
    shown_ = std::string(stage);
    last_ = now;
    console_.error << stage << ": " << detail << std::endl;
  }

  void Finish(runtime::ReportContext& context) {
    context.stage_seconds = times_.Seconds(absl::Now());
    context.peak_rss_bytes = peak_ > 0 ? peak_ : PeakRssBytes();
  }

 private:
  Console& console_;
  StageTimes times_;
  std::string shown_;
  absl::Time last_ = absl::InfinitePast();
  size_t peak_ = 0;
};

std::vector<std::string> OtherAlgorithms(const std::vector<std::string>& algorithms) {
  std::vector<std::string> others;
  for (const quant::RangeEstimator& estimator : quant::RangeEstimators()) {
    if (std::find(algorithms.begin(), algorithms.end(), estimator.name) == algorithms.end()) {
      others.emplace_back(estimator.name);
    }
  }
  return others;
}

}  // namespace

absl::Status Quantize(const QuantizeOptions& options, Console& console) {
  runtime::LoadOptions load = ToLoadOptions(options.model.settings, 1);
  load.cache = ToPackCache(options.model.settings.quantization);
  load.cache.read = false;  // what is asked for is the work
  if (!options.output.empty()) {
    load.cache.file = options.output;
    load.cache.write = true;
  }
  Progress progress(console);
  load.progress = [&](absl::string_view stage, const std::string& detail) {
    progress.Tell(stage, detail);
  };
  load.quantization.details = options.compare_algorithms || !options.report_folder.empty();
  if (options.compare_algorithms) {
    load.quantization.also_measured = OtherAlgorithms(load.quantization.activation_algorithms);
  }
  OCTET_ASSIGN_OR_RETURN(runtime::PreparedModel model,
                         runtime::PrepareModel(options.model.path, load));
  if (!model.quantization) {
    for (const std::string& warning : model.warnings) console.error << warning << std::endl;
    return absl::FailedPreconditionError(
        absl::StrCat("the mode of this model is fp32", model.mode_reason.empty() ? "" : ", since ",
                     model.mode_reason, ": there is nothing to quantize"));
  }
  runtime::ReportContext context;
  progress.Finish(context);
  OCTET_ASSIGN_OR_RETURN(context.memory, AddKernels(model));
  context.opset = model.opset;
  const runtime::QuantizeReport& report = *model.quantization;
  console.out << runtime::ReportText(report);
  console.out << absl::StrFormat("peak memory          %.0f MB\n",
                                 static_cast<double>(context.peak_rss_bytes) / 1e6);
  if (options.compare_algorithms) console.out << "\n" << runtime::AlgorithmTable(report);
  for (const std::string& warning : model.warnings) console.error << warning << std::endl;
  if (!model.pack.empty()) console.error << "wrote " << model.pack << std::endl;
  if (!model.statistics.empty()) console.error << "wrote " << model.statistics << std::endl;
  const std::string& save = options.model.settings.quantization.calibration.save;
  if (model.statistics.empty() && !save.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("quantization.calibration.save: ", save, " was not written"));
  }
  if (model.pack.empty() && !options.output.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("--output: ", options.output, " could not be written"));
  }
  if (options.report_folder.empty()) return absl::OkStatus();
  OCTET_RETURN_IF_ERROR(Describe(options.model.path, options.model.settings.quantization, context));
  const absl::Status written = WriteReports(
      options.report_folder, options.model.settings.quantization.report.formats, report, context);
  return written.ok() ? written : Annotate(written, "--report");
}

}  // namespace octet::server
