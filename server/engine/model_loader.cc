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

using Model = std::shared_ptr<const runtime::CompiledModel>;

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
  if (status.ok()) status = WriteReports(folder.string(), settings.report.formats, report, context);
  if (status.ok()) return;
  LogWarning("quantization.report: the report cannot be written",
             {{"model", source.name},
              {"version", source.version},
              {"reason", std::string(status.message())}});
}

// Of a model that may learn from requests later.
runtime::LoadOptions FirstLoad(const ModelConfig& settings, runtime::LoadOptions options) {
  if (settings.quantization.calibration.source == CalibrationSource::kTraffic) {
    options.quantization = WithoutStaticRules(std::move(options.quantization));
  }
  return options;
}

// With the float32 original beside it. What is wrong with that is no reason not to serve.
std::shared_ptr<const runtime::CompiledModel> Shadowed(
    const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model,
    runtime::LoadOptions options, double sample_rate) {
  options.mode = runtime::Mode::kFloat32;
  options.max_batch_size = 1;
  options.report = nullptr;
  options.watch = model->summary().ranges;
  const auto float32 = runtime::LoadModel(source.file.string(), options);
  if (float32.ok()) return WithShadow(std::move(model), *float32, sample_rate);
  LogWarning("no request is compared with float32, which cannot be loaded",
             {{"model", source.name},
              {"version", source.version},
              {"reason", std::string(float32.status().message())}});
  return model;
}

}  // namespace

ModelLoader MakeModelLoader(const Config& config, const ReplaceModel& replace) {
  return [config, replace](const ModelSource& source, const ProgressFn& progress)
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
                           runtime::LoadModel(source.file.string(), FirstLoad(settings, options)));
    const double sample_rate = settings.quantization.shadow.sample_rate;
    options.progress = nullptr;  // what comes later tells nobody
    options.report = nullptr;
    const auto finish = [source, options, sample_rate](Model made) {
      LogWarnings(source, *made);
      if (sample_rate == 0 || made->summary().mode == "fp32") return made;
      return Shadowed(source, std::move(made), options, sample_rate);
    };
    if (replace && LearnsFromRequests(settings.quantization, model->summary())) {
      model = WithLearning(source, settings.quantization, options, replace, finish, model);
    }
    return finish(std::move(model));
  };
}

}  // namespace octet::server
