#include "server/engine/model_loader.h"

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "server/engine/load_options.h"
#include "server/engine/report_files.h"
#include "server/engine/shadow_model.h"
#include "server/engine/stage_times.h"
#include "server/log.h"

namespace octet::server {
namespace {

constexpr absl::Duration kBetweenLines = absl::Seconds(1);  // of progress

void LogWarnings(const ModelSource& source, const runtime::CompiledModel& model) {
  for (const std::string& warning : model.summary().warnings) {
    LogWarning(warning, {{"model", source.name}, {"version", source.version}});
  }
}

// Where quantization.report says. What is wrong with that is no reason not to serve.
void WriteReport(const ModelSource& source, const QuantizationConfig& settings, StageTimes& times,
                 const runtime::QuantizeReport& report) {
  runtime::ReportContext context;
  context.stage_seconds = times.Seconds(absl::Now());
  const std::filesystem::path folder =
      std::filesystem::path(settings.report.path) / source.name / absl::StrCat(source.version);
  absl::Status status = Describe(source.file.string(), settings, context);
  if (status.ok()) status = WriteReports(folder.string(), report, context);
  if (status.ok()) return;
  LogWarning("quantization.report: the report cannot be written",
             {{"model", source.name},
              {"version", source.version},
              {"reason", std::string(status.message())}});
}

// With the float32 original beside it. What is wrong with that is no reason not to serve.
std::shared_ptr<const runtime::CompiledModel> Shadowed(
    const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model,
    runtime::LoadOptions options, double sample_rate) {
  options.mode = runtime::Mode::kFloat32;
  options.max_batch_size = 1;
  options.report = nullptr;
  const auto float32 = runtime::LoadModel(source.file.string(), options);
  if (float32.ok()) return WithShadow(std::move(model), *float32, sample_rate);
  LogWarning("no request is compared with float32, which cannot be loaded",
             {{"model", source.name},
              {"version", source.version},
              {"reason", std::string(float32.status().message())}});
  return model;
}

}  // namespace

ModelLoader MakeModelLoader(const Config& config) {
  return [config](const ModelSource& source, const ProgressFn& progress)
             -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
    const ModelConfig settings = config.ForModel(source.name);
    runtime::LoadOptions options =
        ToLoadOptions(settings, ResolveExecution(settings.execution).threads_per_stream);
    options.cache = ToPackCache(settings.quantization);
    StageTimes times;
    if (!settings.quantization.report.path.empty()) {
      options.quantization.details = settings.quantization.report.histograms;
      options.report = [&](const runtime::QuantizeReport& report) {
        WriteReport(source, settings.quantization, times, report);
      };
    }
    absl::Time next_line = absl::Now() + kBetweenLines;
    options.progress = [&](absl::string_view stage, const std::string& detail) {
      if (progress) progress(absl::StrCat(stage, ": ", detail));
      // A load that takes long shows that it goes on; every step is for those who look closely.
      const absl::Time now = absl::Now();
      times.Tell(stage, now);
      const auto log = now >= next_line ? LogInfo : LogDebug;
      if (now >= next_line) next_line = now + kBetweenLines;
      log(absl::StrCat("loading: ", stage),
          {{"model", source.name}, {"version", source.version}, {"detail", detail}});
    };
    OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const runtime::CompiledModel> model,
                           runtime::LoadModel(source.file.string(), options));
    LogWarnings(source, *model);
    const double sample_rate = settings.quantization.shadow.sample_rate;
    if (sample_rate == 0 || model->summary().mode == "fp32") return model;
    return Shadowed(source, std::move(model), std::move(options), sample_rate);
  };
}

}  // namespace octet::server
