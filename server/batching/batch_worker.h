// Runs batches on one ExecutionContext, and hands each caller its own rows of the outputs.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/compiled_model.h"
#include "server/batching/batch_queue.h"
#include "server/batching/infer_statistics.h"
#include "server/batching/infer_task.h"

namespace octet::server {

// One run, as it happened; for metrics.
struct BatchReport {
  const Batch& batch;
  int64_t rows;
  InferTimes times;  // without `queued`, which differs by request
};

// Not thread-safe: belongs to one stream's thread.
class BatchWorker {
 public:
  // `on_batch` may be empty; it is called after each run that succeeded, before the callers are
  // told. All references must outlive the worker.
  BatchWorker(const runtime::CompiledModel& model,
              std::unique_ptr<runtime::ExecutionContext> context, StreamStatistics& statistics,
              const std::function<void(const BatchReport&)>& on_batch);

  // Runs `batch` and calls every member's `done`. If a batch of several requests fails, each is run
  // alone: whatever is wrong, nobody pays for what another one sent. `taken` is when the batch left
  // the queue; `measured` is called once with the time it took, before anybody is told.
  void Run(Batch batch, absl::Time taken, absl::FunctionRef<void(absl::Duration)> measured);

  // Runs `rows` zero rows twice and returns the time of the second run: pages are touched, plans
  // compiled, and the time is that of a warm run.
  absl::StatusOr<absl::Duration> WarmUp(const runtime::InputRows& rows);

 private:
  absl::Status Execute(const Batch& batch, InferTimes& times, std::vector<InferResult>& results);
  absl::StatusOr<InferResult> StoreOutputs(const InferTask& task, int caller) const;
  void Finish(Batch& batch, const InferTimes& times, std::vector<InferResult>& results);
  void RunAlone(Batch& batch);

  const runtime::CompiledModel& model_;
  const std::unique_ptr<runtime::ExecutionContext> context_;
  StreamStatistics& statistics_;
  const std::function<void(const BatchReport&)>& on_batch_;
};

// Zero rows for every input, `rows` of them in the batch dimension; nullopt if a dimension other
// than the batch is unknown. The bytes are those of `zeros`, which grows as needed.
std::optional<runtime::InputRows> ZeroRows(const runtime::CompiledModel& model, int64_t rows,
                                           std::vector<std::byte>& zeros);

}  // namespace octet::server
