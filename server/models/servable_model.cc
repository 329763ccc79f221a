#include "server/models/servable_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/models/quote.h"
#include "server/models/ready_log.h"

namespace octet::server {

static_assert(kDispatchReasonNames.size() == kDispatchReasons);

ServableModel::ServableModel(const ModelSource& source,
                             std::shared_ptr<const runtime::CompiledModel> model)
    : name_(source.name),
      version_(source.version),
      version_text_(absl::StrCat(source.version)),
      model_(std::move(model)) {}

ServableModel::~ServableModel() {
  if (scheduler_ != nullptr) scheduler_->Drain();
  if (metrics_ != nullptr) metrics_->Detach(this);
}

absl::StatusOr<std::shared_ptr<ServableModel>> ServableModel::Start(
    const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model,
    const BatchingPolicy& policy, std::function<void(int stream)> on_stream_start,
    MetricsRegistry& metrics, std::shared_ptr<ServableModel> predecessor) {
  std::shared_ptr<ServableModel> servable(new ServableModel(source, model));
  ServableModel* const self = servable.get();
  SchedulerOptions options;
  options.policy = policy;
  options.on_stream_start = std::move(on_stream_start);
  options.on_batch = [self](const BatchReport& report) { self->CountBatch(report); };
  options.on_dispatch = [self](DispatchReason reason) {
    self->metrics_->CountDispatch(static_cast<int>(reason));
  };
  OCTET_ASSIGN_OR_RETURN(servable->scheduler_,
                         BatchScheduler::Start(std::move(model), std::move(options)));
  servable->metrics_ = predecessor != nullptr
                           ? predecessor->metrics_
                           : metrics.AddModel(servable->name_, servable->version_text_);
  const MutexLock lock(servable->mutex_);
  servable->predecessor_ = std::move(predecessor);
  return servable;
}

void ServableModel::EnterService(double load_seconds) {
  metrics_->SetLoaded(LoadedFrom(model_->summary(), load_seconds));
  metrics_->Attach(this, [this] { return Gauges(); });
}

void ServableModel::EndSuccession() {
  std::shared_ptr<ServableModel> predecessor;
  const MutexLock lock(mutex_);
  predecessor.swap(predecessor_);
  if (predecessor != nullptr) inherited_.Add(predecessor->statistics());
}

InferStatistics ServableModel::statistics() const {
  InferStatistics sum = scheduler_->statistics();
  const MutexLock lock(mutex_);
  sum.Add(inherited_);
  if (predecessor_ != nullptr) sum.Add(predecessor_->statistics());
  return sum;
}

void ServableModel::CountBatch(const BatchReport& report) {
  const absl::Duration compute =
      std::max(report.times.stored - report.times.taken, absl::ZeroDuration());
  metrics_->CountRun(report.rows, compute);
  for (const auto& task : report.batch) {
    metrics_->CountRequestOfRun(std::max(report.times.taken - task->queued, absl::ZeroDuration()),
                                compute);
  }
}

ModelGauges ServableModel::Gauges() const {
  const runtime::MemoryLedger memory = model_->memory();
  std::optional<ModelGauges::Shadow> shadow;
  if (const std::optional<runtime::ShadowStatistics> compared = model_->shadow()) {
    shadow = {.compared = static_cast<double>(compared->compared),
              .passed_over = static_cast<double>(compared->passed_over),
              .failed = static_cast<double>(compared->failed),
              .output_sqnr_db = compared->output_sqnr_db,
              .agreement = compared->agreement,
              .weight_bytes = static_cast<double>(compared->weight_bytes)};
    for (const auto& clipping : compared->worst_clipping) {
      shadow->clip_ratios.emplace_back(clipping.layer, clipping.share);
    }
  }
  std::optional<double> kept;
  if (const auto learning = model_->learning()) kept = static_cast<double>(learning->samples);
  return {.pending_requests = static_cast<double>(scheduler_->waiting()),
          .queue_limit = static_cast<double>(policy().max_queue_size),
          .streams = static_cast<double>(policy().streams),
          .float32_weight_bytes = static_cast<double>(memory.float32_weight_bytes),
          .served_weight_bytes = static_cast<double>(memory.served_weight_bytes),
          .arena_bytes = static_cast<double>(memory.arena_bytes),
          .scratchpad_bytes = static_cast<double>(memory.scratchpad_bytes),
          .shadow = shadow,
          .calibration_requests = kept};
}

absl::Status ServableModel::Annotated(const absl::Status& status) const {
  return Annotate(status, absl::StrCat("model ", Quote(name_), " version ", version_text_));
}

absl::Status ServableModel::Enqueue(std::unique_ptr<InferTask>& task) {
  const absl::Status status = scheduler_->Enqueue(task);
  return status.ok() ? status : Annotated(status);
}

}  // namespace octet::server
