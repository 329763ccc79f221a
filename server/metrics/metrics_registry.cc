#include "server/metrics/metrics_registry.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "prometheus/text_serializer.h"
#include "server/metrics/catalog.h"
#include "server/metrics/metric_families.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/series.h"

namespace octet::server {
namespace {

constexpr int kStatusCodes = 17;

}  // namespace

struct MetricsRegistry::Families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests = CounterFamily(registry, kRequests);
  prometheus::Family<prometheus::Counter>& rows = CounterFamily(registry, kInferenceCount);
  prometheus::Family<prometheus::Counter>& executions = CounterFamily(registry, kExecutions);
  prometheus::Family<prometheus::Gauge>& pending = GaugeFamily(registry, kPendingRequests);
  prometheus::Family<prometheus::Gauge>& queue_limit = GaugeFamily(registry, kQueueLimit);
  prometheus::Family<prometheus::Gauge>& streams = GaugeFamily(registry, kStreams);
  prometheus::Family<prometheus::Counter>& busy = CounterFamily(registry, kBusySeconds);
  prometheus::Family<prometheus::Counter>& dispatches = CounterFamily(registry, kDispatches);
  prometheus::Family<prometheus::Histogram>& batch_size = HistogramFamily(registry, kBatchSize);
  prometheus::Family<prometheus::Histogram>& request_seconds =
      HistogramFamily(registry, kRequestSeconds);
  prometheus::Family<prometheus::Histogram>& queue_seconds =
      HistogramFamily(registry, kQueueSeconds);
  prometheus::Family<prometheus::Histogram>& compute_seconds =
      HistogramFamily(registry, kComputeSeconds);
  prometheus::Family<prometheus::Gauge>& load_seconds = GaugeFamily(registry, kLoadSeconds);
  prometheus::Family<prometheus::Gauge>& quantization_seconds =
      GaugeFamily(registry, kQuantizationSeconds);
  prometheus::Family<prometheus::Gauge>& weight_bytes = GaugeFamily(registry, kWeightBytes);
  prometheus::Family<prometheus::Gauge>& saved_bytes = GaugeFamily(registry, kSavedBytes);
  prometheus::Family<prometheus::Gauge>& arena_bytes = GaugeFamily(registry, kArenaBytes);
  prometheus::Family<prometheus::Gauge>& scratchpad_bytes = GaugeFamily(registry, kScratchpadBytes);
  prometheus::Family<prometheus::Gauge>& model_info = GaugeFamily(registry, kModelInfo);
  prometheus::Family<prometheus::Counter>& swaps = CounterFamily(registry, kSwaps);
  prometheus::Family<prometheus::Counter>& config_reloads = CounterFamily(registry, kConfigReloads);
  prometheus::Family<prometheus::Gauge>& config_times = GaugeFamily(registry, kConfigTime);
  prometheus::Family<prometheus::Gauge>& output_sqnr = GaugeFamily(registry, kOutputSqnr);
  prometheus::Family<prometheus::Gauge>& accuracy = GaugeFamily(registry, kAccuracy);
  prometheus::Family<prometheus::Gauge>& accuracy_target = GaugeFamily(registry, kAccuracyTarget);
  prometheus::Family<prometheus::Gauge>& accuracy_verdict = GaugeFamily(registry, kAccuracyVerdict);
  ShadowFamilies shadow{registry};
  prometheus::Family<prometheus::Gauge>& calibration_requests =
      GaugeFamily(registry, kCalibrationRows);
  prometheus::Family<prometheus::Gauge>& build_info = GaugeFamily(registry, kBuildInfo);
  prometheus::Family<prometheus::Gauge>& warm_start = GaugeFamily(registry, kWarmStart);
  ProcessMetrics process{registry};
  prometheus::Gauge& config_time = config_times.Add({});
  // By ConfigReload.
  const std::array<prometheus::Counter*, 3> config_results = {
      &config_reloads.Add(LabelsOf(kConfigReloads, {"ok"})),
      &config_reloads.Add(LabelsOf(kConfigReloads, {"rejected"})),
      &config_reloads.Add(LabelsOf(kConfigReloads, {"failed"}))};

  Mutex mutex;
  std::set<ModelMetrics*> models ABSL_GUARDED_BY(mutex);
};

struct ModelMetrics::Handles {
  using Families = MetricsRegistry::Families;

  // A code's series appears with its first request, but for OK, which dashboards divide by.
  prometheus::Counter& Requests(absl::StatusCode code) {
    const auto index = static_cast<size_t>(code) % kStatusCodes;
    prometheus::Counter* counter = requests[index].load(std::memory_order_acquire);
    if (counter == nullptr) {
      const std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(index));
      counter = &families.requests.Add(LabelsOf(kRequests, {model, version, name}));
      requests[index].store(counter, std::memory_order_release);
    }
    return *counter;
  }

  Families& families;
  const std::string model;
  const std::string version;
  const prometheus::Labels labels = LabelsOf(kPendingRequests, {model, version});
  std::array<std::atomic<prometheus::Counter*>, kStatusCodes> requests = {};
  prometheus::Counter& rows = families.rows.Add(labels);
  prometheus::Counter& executions = families.executions.Add(labels);
  prometheus::Gauge& pending = families.pending.Add(labels);
  prometheus::Gauge& queue_limit = families.queue_limit.Add(labels);
  prometheus::Gauge& streams = families.streams.Add(labels);
  prometheus::Counter& busy = families.busy.Add(labels);
  const std::array<prometheus::Counter*, kDispatchReasonNames.size()> dispatches = Dispatches();
  prometheus::Histogram& batch_size = AddHistogram(families.batch_size, kBatchSize);
  prometheus::Histogram& request_seconds = AddHistogram(families.request_seconds, kRequestSeconds);
  prometheus::Histogram& queue_seconds = AddHistogram(families.queue_seconds, kQueueSeconds);
  prometheus::Histogram& compute_seconds = AddHistogram(families.compute_seconds, kComputeSeconds);
  prometheus::Gauge& load_seconds = families.load_seconds.Add(labels);
  prometheus::Gauge& quantization_seconds = families.quantization_seconds.Add(labels);
  prometheus::Gauge& float32_bytes =
      families.weight_bytes.Add(LabelsOf(kWeightBytes, {model, version, "float32"}));
  prometheus::Gauge& served_bytes =
      families.weight_bytes.Add(LabelsOf(kWeightBytes, {model, version, "served"}));
  prometheus::Gauge& saved_bytes = families.saved_bytes.Add(labels);
  prometheus::Gauge& arena_bytes = families.arena_bytes.Add(labels);
  prometheus::Gauge& scratchpad_bytes = families.scratchpad_bytes.Add(labels);
  prometheus::Counter& swaps_ok = families.swaps.Add(LabelsOf(kSwaps, {model, version, "ok"}));
  prometheus::Counter& swaps_failed =
      families.swaps.Add(LabelsOf(kSwaps, {model, version, "failed"}));
  // Both guarded by the registry's mutex.
  ShadowSeries shadow{families.shadow, families.weight_bytes, model, version};
  prometheus::Gauge* calibration_requests = nullptr;

  // Series that only some models have, or whose labels change from one model to its successor.
  struct LoadedGauge {
    prometheus::Family<prometheus::Gauge>* family;
    prometheus::Gauge* gauge;
  };
  Mutex mutex;
  std::vector<LoadedGauge> loaded ABSL_GUARDED_BY(mutex);

  static void Set(prometheus::Family<prometheus::Gauge>& family, const prometheus::Labels& with,
                  double value, std::vector<LoadedGauge>& gauges) {
    prometheus::Gauge& gauge = family.Add(with);
    gauge.Set(value);
    gauges.push_back({&family, &gauge});
  }

  // Takes the place of the gauges of the model before.
  void Replace(std::vector<LoadedGauge> gauges) {
    const MutexLock lock(mutex);
    loaded.swap(gauges);
    for (const LoadedGauge& old : gauges) {
      const bool stays = std::any_of(loaded.begin(), loaded.end(), [&](const LoadedGauge& gauge) {
        return gauge.gauge == old.gauge;
      });
      if (!stays) old.family->Remove(old.gauge);
    }
  }

  std::array<prometheus::Counter*, kDispatchReasonNames.size()> Dispatches() const {
    std::array<prometheus::Counter*, kDispatchReasonNames.size()> counters = {};
    for (size_t i = 0; i < counters.size(); ++i) {
      const auto with = LabelsOf(kDispatches, {model, version, kDispatchReasonNames[i]});
      counters[i] = &families.dispatches.Add(with);
    }
    return counters;
  }

 private:
  prometheus::Histogram& AddHistogram(prometheus::Family<prometheus::Histogram>& family,
                                      const MetricDef& metric) const {
    return family.Add(labels, prometheus::Histogram::BucketBoundaries(metric.buckets.begin(),
                                                                      metric.buckets.end()));
  }
};

ModelMetrics::ModelMetrics(MetricsRegistry& registry, absl::string_view model,
                           absl::string_view version)
    : registry_(registry),
      handles_(new Handles{*registry.families_, std::string(model), std::string(version)}) {
  handles_->Requests(absl::StatusCode::kOk);
  const MutexLock lock(registry_.families_->mutex);
  registry_.families_->models.insert(this);
}

ModelMetrics::~ModelMetrics() {
  MetricsRegistry::Families& families = *registry_.families_;
  // No scrape reads this model from here on.
  const MutexLock lock(families.mutex);
  families.models.erase(this);
  for (const auto& counter : handles_->requests) {
    if (counter.load() != nullptr) families.requests.Remove(counter.load());
  }
  families.rows.Remove(&handles_->rows);
  families.executions.Remove(&handles_->executions);
  families.pending.Remove(&handles_->pending);
  families.queue_limit.Remove(&handles_->queue_limit);
  families.streams.Remove(&handles_->streams);
  families.busy.Remove(&handles_->busy);
  for (prometheus::Counter* const counter : handles_->dispatches) {
    families.dispatches.Remove(counter);
  }
  families.batch_size.Remove(&handles_->batch_size);
  families.request_seconds.Remove(&handles_->request_seconds);
  families.queue_seconds.Remove(&handles_->queue_seconds);
  families.compute_seconds.Remove(&handles_->compute_seconds);
  families.load_seconds.Remove(&handles_->load_seconds);
  families.quantization_seconds.Remove(&handles_->quantization_seconds);
  families.weight_bytes.Remove(&handles_->float32_bytes);
  families.weight_bytes.Remove(&handles_->served_bytes);
  families.saved_bytes.Remove(&handles_->saved_bytes);
  families.arena_bytes.Remove(&handles_->arena_bytes);
  families.scratchpad_bytes.Remove(&handles_->scratchpad_bytes);
  families.swaps.Remove(&handles_->swaps_ok);
  families.swaps.Remove(&handles_->swaps_failed);
  handles_->shadow.Set(std::nullopt);
  SetIf(families.calibration_requests, handles_->labels, std::nullopt,
        handles_->calibration_requests);
  const MutexLock loaded_lock(handles_->mutex);
  for (const Handles::LoadedGauge& loaded : handles_->loaded) loaded.family->Remove(loaded.gauge);
}

void ModelMetrics::CountRequest(absl::StatusCode code, absl::Duration duration) {
  handles_->Requests(code).Increment();
  handles_->request_seconds.Observe(absl::ToDoubleSeconds(duration));
}

void ModelMetrics::CountDispatch(int reason) {
  handles_->dispatches[static_cast<size_t>(reason)]->Increment();
}

void ModelMetrics::CountRun(int64_t rows, absl::Duration busy) {
  handles_->busy.Increment(absl::ToDoubleSeconds(busy));
  handles_->executions.Increment();
  handles_->rows.Increment(static_cast<double>(rows));
  handles_->batch_size.Observe(static_cast<double>(rows));
}

void ModelMetrics::CountRequestOfRun(absl::Duration queue, absl::Duration compute) {
  handles_->queue_seconds.Observe(absl::ToDoubleSeconds(queue));
  handles_->compute_seconds.Observe(absl::ToDoubleSeconds(compute));
}

void ModelMetrics::SetLoaded(const LoadedModel& loaded) {
  Handles& handles = *handles_;
  MetricsRegistry::Families& families = handles.families;
  const auto labels = [&](const MetricDef& metric, absl::string_view value) {
    return LabelsOf(metric, {handles.model, handles.version, value});
  };
  handles.load_seconds.Set(loaded.load_seconds);
  handles.quantization_seconds.Set(loaded.quantization_seconds);
  std::vector<Handles::LoadedGauge> gauges;
  const auto set = [&](prometheus::Family<prometheus::Gauge>& family,
                       const prometheus::Labels& with,
                       double value) { Handles::Set(family, with, value, gauges); };
  set(families.model_info,
      LabelsOf(kModelInfo, {handles.model, handles.version, loaded.mode, loaded.mode_asked}), 1);
  if (loaded.warm_start) set(families.warm_start, handles.labels, *loaded.warm_start ? 1 : 0);
  if (!loaded.accuracy_verdict.empty()) {
    const std::string& metric = loaded.accuracy_metric;
    set(families.accuracy_verdict, labels(kAccuracyVerdict, loaded.accuracy_verdict), 1);
    set(families.accuracy_target, labels(kAccuracyTarget, metric), loaded.accuracy_target);
    if (loaded.accuracy) {
      set(families.accuracy, labels(kAccuracy, metric), *loaded.accuracy);
    }
    if (loaded.output_sqnr_db) {
      set(families.output_sqnr, handles.labels, *loaded.output_sqnr_db);
    }
  }
  handles.Replace(std::move(gauges));
}

void ModelMetrics::CountSwap(bool ok) {
  (ok ? handles_->swaps_ok : handles_->swaps_failed).Increment();
}

void ModelMetrics::Attach(const void* owner, std::function<ModelGauges()> gauges) {
  const MutexLock lock(registry_.families_->mutex);
  owner_ = owner;
  gauges_ = std::move(gauges);
}

void ModelMetrics::Detach(const void* owner) {
  const MutexLock lock(registry_.families_->mutex);
  if (owner_ == owner) gauges_ = nullptr;
}

MetricsRegistry::MetricsRegistry() : families_(std::make_unique<Families>()) {
  families_->config_time.SetToCurrentTime();
}

MetricsRegistry::~MetricsRegistry() = default;

std::unique_ptr<ModelMetrics> MetricsRegistry::AddModel(absl::string_view model,
                                                        absl::string_view version,
                                                        std::function<ModelGauges()> gauges) {
  std::unique_ptr<ModelMetrics> metrics(new ModelMetrics(*this, model, version));
  if (gauges) metrics->Attach(nullptr, std::move(gauges));
  return metrics;
}

void MetricsRegistry::CountConfigReload(ConfigReload result) {
  families_->config_results[static_cast<size_t>(result)]->Increment();
  if (result == ConfigReload::kOk) families_->config_time.SetToCurrentTime();
}

void MetricsRegistry::CountUnroutedRequest(absl::StatusCode code) {
  families_->requests.Add(LabelsOf(kRequests, {"", "", absl::StatusCodeToString(code)}))
      .Increment();
}

void MetricsRegistry::SetReady(bool ready) { families_->process.SetReady(ready); }

void MetricsRegistry::SetCores(int cores) { families_->process.SetCores(cores); }

void MetricsRegistry::SetBuildInfo(absl::string_view version, absl::string_view isa,
                                   absl::string_view onednn) {
  families_->build_info.Add(LabelsOf(kBuildInfo, {version, isa, onednn})).Set(1);
}

std::string MetricsRegistry::Scrape() {
  families_->process.Update();
  {
    const MutexLock lock(families_->mutex);
    for (ModelMetrics* const model : families_->models) {
      if (!model->gauges_) continue;
      const ModelGauges gauges = model->gauges_();
      ModelMetrics::Handles& handles = *model->handles_;
      handles.pending.Set(gauges.pending_requests);
      handles.queue_limit.Set(gauges.queue_limit);
      handles.streams.Set(gauges.streams);
      handles.float32_bytes.Set(gauges.float32_weight_bytes);
      handles.served_bytes.Set(gauges.served_weight_bytes);
      handles.saved_bytes.Set(gauges.float32_weight_bytes - gauges.served_weight_bytes);
      handles.arena_bytes.Set(gauges.arena_bytes);
      handles.scratchpad_bytes.Set(gauges.scratchpad_bytes);
      handles.shadow.Set(gauges.shadow);
      SetIf(families_->calibration_requests, handles.labels, gauges.calibration_requests,
            handles.calibration_requests);
    }
  }
  return static_cast<const prometheus::Serializer&>(prometheus::TextSerializer())
      .Serialize(families_->registry.Collect());
}

}  // namespace octet::server
