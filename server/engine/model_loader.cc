#include "server/engine/model_loader.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "server/engine/load_options.h"
#include "server/log.h"

namespace octet::server {
namespace {

constexpr absl::Duration kBetweenLines = absl::Seconds(1);  // of progress

void LogWarnings(const ModelSource& source, const runtime::CompiledModel& model) {
  for (const std::string& warning : model.summary().warnings) {
    LogWarning(warning, {{"model", source.name}, {"version", source.version}});
  }
}

}  // namespace

ModelLoader MakeModelLoader(const Config& config) {
  return [config](const ModelSource& source, const ProgressFn& progress)
             -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
    const ModelConfig settings = config.ForModel(source.name);
    runtime::LoadOptions options =
        ToLoadOptions(settings, ResolveExecution(settings.execution).threads_per_stream);
    options.cache = ToPackCache(settings.quantization);
    absl::Time next_line = absl::Now() + kBetweenLines;
    options.progress = [&](absl::string_view stage, const std::string& detail) {
      if (progress) progress(absl::StrCat(stage, ": ", detail));
      // A load that takes long shows that it goes on; every step is for those who look closely.
      const absl::Time now = absl::Now();
      const auto log = now >= next_line ? LogInfo : LogDebug;
      if (now >= next_line) next_line = now + kBetweenLines;
      log(absl::StrCat("loading: ", stage),
          {{"model", source.name}, {"version", source.version}, {"detail", detail}});
    };
    OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const runtime::CompiledModel> model,
                           runtime::LoadModel(source.file.string(), options));
    LogWarnings(source, *model);
    return model;
  };
}

}  // namespace octet::server
