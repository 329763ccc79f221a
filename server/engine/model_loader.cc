#include "server/engine/model_loader.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/engine/load_options.h"
#include "server/log.h"

namespace octet::server {
namespace {

void LogLoaded(const ModelSource& source, const runtime::CompiledModel& model) {
  const runtime::ModelSummary& summary = model.summary();
  const runtime::MemoryLedger memory = model.memory();
  for (const std::string& warning : summary.warnings) {
    LogWarning(warning, {{"model", source.name}, {"version", source.version}});
  }
  const auto saved = static_cast<int64_t>(memory.float32_weight_bytes) -
                     static_cast<int64_t>(memory.served_weight_bytes);
  LogInfo("model loaded", {{"model", source.name},
                           {"version", source.version},
                           {"mode", summary.mode},
                           {"calibration", summary.calibration},
                           {"seconds", summary.load_seconds},
                           {"int8_mac_share", summary.int8_mac_share},
                           {"output_sqnr_db", summary.output_sqnr_db},
                           {"kernels", summary.kernels},
                           {"float32_weight_bytes", memory.float32_weight_bytes},
                           {"served_weight_bytes", memory.served_weight_bytes},
                           {"saved_bytes", saved}});
}

}  // namespace

ModelLoader MakeModelLoader(const Config& config) {
  return [config](const ModelSource& source, const ProgressFn& progress)
             -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
    const ModelConfig settings = config.ForModel(source.name);
    runtime::LoadOptions options =
        ToLoadOptions(settings, ResolveExecution(settings.execution).threads_per_stream);
    std::string last_stage;
    options.progress = [&](absl::string_view stage, const std::string& detail) {
      if (progress) progress(absl::StrCat(stage, ": ", detail));
      // Each stage once; its steps are for those who look closely.
      const auto log = stage == last_stage ? LogDebug : LogInfo;
      last_stage = std::string(stage);
      log(absl::StrCat("loading: ", stage),
          {{"model", source.name}, {"version", source.version}, {"detail", detail}});
    };
    OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const runtime::CompiledModel> model,
                           runtime::LoadModel(source.file.string(), options));
    LogLoaded(source, *model);
    return model;
  };
}

}  // namespace octet::server
