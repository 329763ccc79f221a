#include "server/models/ready_log.h"

#include <string>

#include "absl/strings/str_format.h"
#include "server/log.h"

namespace octet::server {

void LogReady(const ServableModel& servable, double seconds) {
  const runtime::ModelSummary& summary = servable.model().summary();
  const runtime::MemoryLedger memory = servable.model().memory();
  if (summary.calibration.empty()) {
    LogInfo("model ready", {{"model", servable.name()},
                            {"version", servable.version()},
                            {"mode", summary.mode},
                            {"mode_reason", summary.mode_reason},
                            {"seconds", seconds},
                            {"weight_bytes", memory.served_weight_bytes}});
    return;
  }
  const std::string sqnr =
      summary.output_sqnr_db == 0 ? "unmeasured" : absl::StrFormat("%.1f", summary.output_sqnr_db);
  LogInfo("model ready", {{"model", servable.name()},
                          {"version", servable.version()},
                          {"mode", summary.mode},
                          {"mode_reason", summary.mode_reason},
                          {"seconds", seconds},
                          {"weight_bytes", memory.served_weight_bytes},
                          {"float32_weight_bytes", memory.float32_weight_bytes},
                          {"calibration", summary.calibration},
                          {"quantization_seconds", summary.quantization_seconds},
                          {"quantization_start", summary.start},
                          {"int8_mac_share", summary.int8_mac_share},
                          {"bf16_mac_share", summary.bfloat16_mac_share},
                          {"output_sqnr_db", sqnr},
                          {"accuracy", summary.accuracy.description}});
}

LoadedModel LoadedFrom(const runtime::ModelSummary& summary, double seconds) {
  const runtime::ModelAccuracy& accuracy = summary.accuracy;
  LoadedModel loaded{.mode = summary.mode,
                     .mode_asked = summary.mode_asked,
                     .load_seconds = seconds,
                     .quantization_seconds = summary.quantization_seconds,
                     .accuracy_verdict = accuracy.verdict,
                     .accuracy_metric = accuracy.metric,
                     .accuracy_target = accuracy.target,
                     .accuracy = accuracy.measured};
  if (!summary.start.empty()) loaded.warm_start = summary.start.rfind("warm", 0) == 0;
  if (summary.output_sqnr_db != 0) loaded.output_sqnr_db = summary.output_sqnr_db;
  return loaded;
}

}  // namespace octet::server
