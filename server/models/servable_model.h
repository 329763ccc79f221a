// One version of a model that answers requests: the compiled model, its batcher and its metrics.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "runtime/compiled_model.h"
#include "server/batching/batch_scheduler.h"
#include "server/metrics/metrics_registry.h"

namespace octet::server {

// What a loader needs to know to load a model.
struct ModelSource {
  std::string name;
  int64_t version = 1;
  std::filesystem::path file;
};

// Thread-safe.
class ServableModel {
 public:
  // Starts the model's streams and warms them up; errors are BatchScheduler::Start()'s. With a
  // `predecessor`, the model that it is to replace, its statistics and series go on.
  static absl::StatusOr<std::shared_ptr<ServableModel>> Start(
      const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model,
      const BatchingPolicy& policy, std::function<void(int stream)> on_stream_start,
      MetricsRegistry& metrics, std::shared_ptr<ServableModel> predecessor = nullptr);

  // From here on the gauges are this model's. `load_seconds` is what it took to get here.
  void EnterService(double load_seconds);

  // The predecessor has answered all that it accepted; lets go of it, and keeps what it counted.
  void EndSuccession() ABSL_LOCKS_EXCLUDED(mutex_);

  // Drains. Not on a thread of the model's own: whoever started it calls Drain() first.
  ~ServableModel();

  ServableModel(const ServableModel&) = delete;
  ServableModel& operator=(const ServableModel&) = delete;

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const std::string& version_text() const { return version_text_; }
  const runtime::CompiledModel& model() const { return *model_; }
  const BatchingPolicy& policy() const { return scheduler_->policy(); }

  // The protocol's max_batch_size: 0 for a model without a batch dimension.
  int64_t max_batch_size() const { return model_->batchable() ? scheduler_->max_batch_size() : 0; }

  // BatchScheduler's, with the model named in errors.
  absl::Status Enqueue(std::unique_ptr<InferTask>& task);

  // `status` with "model "NAME" version N: " put before its message.
  absl::Status Annotated(const absl::Status& status) const;

  void Close() { scheduler_->Close(); }
  bool AwaitDrained(absl::Time deadline) { return scheduler_->AwaitDrained(deadline); }
  void Drain() { scheduler_->Drain(); }

  int64_t waiting() const { return scheduler_->waiting(); }  // requests in the queue
  InferStatistics statistics() const ABSL_LOCKS_EXCLUDED(mutex_);
  ModelMetrics& metrics() { return *metrics_; }

 private:
  ServableModel(const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model);

  void CountBatch(const BatchReport& report);
  ModelGauges Gauges() const;

  const std::string name_;
  const int64_t version_;
  const std::string version_text_;
  const std::shared_ptr<const runtime::CompiledModel> model_;
  // Scrapes read the scheduler, streams count into the metrics: whoever goes first must know. The
  // destructor joins the streams, then drops the metrics, then the scheduler.
  std::unique_ptr<BatchScheduler> scheduler_;
  std::shared_ptr<ModelMetrics> metrics_;  // also the predecessor's

  mutable Mutex mutex_;
  std::shared_ptr<ServableModel> predecessor_ ABSL_GUARDED_BY(mutex_);
  InferStatistics inherited_ ABSL_GUARDED_BY(mutex_);  // of predecessors that are gone
};

}  // namespace octet::server
