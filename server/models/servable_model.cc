#include "server/models/servable_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/models/quote.h"

namespace octet::server {

ServableModel::ServableModel(const ModelSource& source,
                             std::shared_ptr<const runtime::CompiledModel> model)
    : name_(source.name),
      version_(source.version),
      version_text_(absl::StrCat(source.version)),
      model_(std::move(model)) {}

ServableModel::~ServableModel() {
  if (scheduler_ != nullptr) scheduler_->Drain();
}

absl::StatusOr<std::shared_ptr<ServableModel>> ServableModel::Start(
    const ModelSource& source, std::shared_ptr<const runtime::CompiledModel> model,
    const BatchingPolicy& policy, std::function<void(int stream)> on_stream_start,
    MetricsRegistry& metrics) {
  std::shared_ptr<ServableModel> servable(new ServableModel(source, model));
  ServableModel* const self = servable.get();
  SchedulerOptions options;
  options.policy = policy;
  options.on_stream_start = std::move(on_stream_start);
  options.on_batch = [self](const BatchReport& report) { self->CountBatch(report); };
  OCTET_ASSIGN_OR_RETURN(servable->scheduler_,
                         BatchScheduler::Start(std::move(model), std::move(options)));
  servable->metrics_ =
      metrics.AddModel(servable->name_, servable->version_text_, [self] { return self->Gauges(); });
  return servable;
}

void ServableModel::CountBatch(const BatchReport& report) {
  metrics_->CountRun(report.rows);
  const absl::Duration compute = report.times.stored - report.times.taken;
  for (const auto& task : report.batch) {
    metrics_->CountRequestOfRun(std::max(report.times.taken - task->queued, absl::ZeroDuration()),
                                std::max(compute, absl::ZeroDuration()));
  }
}

ModelGauges ServableModel::Gauges() const {
  const runtime::MemoryLedger memory = model_->memory();
  return {.pending_requests = static_cast<double>(scheduler_->waiting()),
          .float32_weight_bytes = static_cast<double>(memory.float32_weight_bytes),
          .served_weight_bytes = static_cast<double>(memory.served_weight_bytes),
          .arena_bytes = static_cast<double>(memory.arena_bytes),
          .scratchpad_bytes = static_cast<double>(memory.scratchpad_bytes)};
}

absl::Status ServableModel::Annotated(const absl::Status& status) const {
  return Annotate(status, absl::StrCat("model ", Quote(name_), " version ", version_text_));
}

absl::Status ServableModel::Enqueue(std::unique_ptr<InferTask>& task) {
  const absl::Status status = scheduler_->Enqueue(task);
  return status.ok() ? status : Annotated(status);
}

}  // namespace octet::server
