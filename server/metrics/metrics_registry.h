// Counts what the catalog names. Handles are resolved once per model: an observation on the request
// path is an atomic addition or, for a histogram, one short lock of its own.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace octet::server {

class MetricsRegistry;

// The values of the label `reason` of octet_batch_dispatch_total.
inline constexpr std::array<absl::string_view, 4> kDispatchReasonNames = {"stream_idle", "full",
                                                                          "delay_over", "draining"};

enum class ConfigReload : uint8_t { kOk, kRejected, kFailed };

// The values that a scrape reads from a model. Bytes are what is in memory now.
struct ModelGauges {
  double pending_requests = 0;
  double queue_limit = 0;
  double streams = 0;
  double float32_weight_bytes = 0;
  double served_weight_bytes = 0;
  double arena_bytes = 0;
  double scratchpad_bytes = 0;
  // Of models that are compared with float32 while they serve.
  struct Shadow {
    double compared = 0, passed_over = 0, failed = 0;
    std::optional<double> output_sqnr_db, agreement;
    double weight_bytes = 0;
    std::vector<std::pair<std::string, double>> clip_ratios;  // by layer
  };
  std::optional<Shadow> shadow;
  std::optional<double> calibration_requests;  // of models that learn from requests
};

// What is known of a model once it is ready.
struct LoadedModel {
  std::string mode;
  std::string mode_asked;
  double load_seconds = 0;
  double quantization_seconds = 0;
  std::optional<bool> warm_start;  // nothing: no decisions are kept
  // Of quantized models; see runtime/compiled_model.h.
  std::string accuracy_verdict;  // empty: none
  std::string accuracy_metric;
  double accuracy_target = 0;
  std::optional<double> accuracy;        // nothing: not measured
  std::optional<double> output_sqnr_db;  // the same
};

// The series of one model version; gone from the registry when destroyed. They go on when another
// model takes the place of the one that was served under that version. Thread-safe.
class ModelMetrics {
 public:
  ~ModelMetrics();

  ModelMetrics(const ModelMetrics&) = delete;
  ModelMetrics& operator=(const ModelMetrics&) = delete;

  // An answered request, whatever the answer.
  void CountRequest(absl::StatusCode code, absl::Duration duration);

  // A batch that leaves the queue. `reason` is an index of kDispatchReasonNames.
  void CountDispatch(int reason);

  // A run of the model, and each of the requests that were part of it.
  void CountRun(int64_t rows, absl::Duration busy);
  void CountRequestOfRun(absl::Duration queue, absl::Duration compute);

  // Once, when the model is ready.
  void SetLoaded(const LoadedModel& loaded);

  // A load that was to replace the model; what became of it.
  void CountSwap(bool ok);

  // `gauges` is called by scrapes, from their threads, until Detach() with the same owner or the
  // next Attach(). It must not create or destroy ModelMetrics.
  void Attach(const void* owner, std::function<ModelGauges()> gauges);
  // Does nothing if another owner has been attached since.
  void Detach(const void* owner);

 private:
  friend class MetricsRegistry;
  struct Handles;
  ModelMetrics(MetricsRegistry& registry, absl::string_view model, absl::string_view version);

  MetricsRegistry& registry_;
  const std::unique_ptr<Handles> handles_;
  // Both guarded by the registry's mutex.
  const void* owner_ = nullptr;
  std::function<ModelGauges()> gauges_;
};

// Thread-safe. Outlives the ModelMetrics it makes.
class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();

  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  // `gauges` as in Attach(), owned by nobody; may be empty.
  std::unique_ptr<ModelMetrics> AddModel(absl::string_view model, absl::string_view version,
                                         std::function<ModelGauges()> gauges = {});

  // A request that reached no model.
  void CountUnroutedRequest(absl::StatusCode code);

  void CountConfigReload(ConfigReload result);

  // What a scrape is to say of the server from here on.
  void SetReady(bool ready);
  void SetCores(int cores);

  void SetBuildInfo(absl::string_view version, absl::string_view isa, absl::string_view onednn);

  // All series in Prometheus' text format 0.0.4.
  std::string Scrape();

 private:
  friend class ModelMetrics;
  struct Families;
  const std::unique_ptr<Families> families_;
};

// The content type of Scrape().
inline constexpr absl::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace octet::server
