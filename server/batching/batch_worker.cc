#include "server/batching/batch_worker.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace octet::server {
namespace {

// A warm-up run that takes longer than this is not repeated for the sake of a better measurement.
constexpr absl::Duration kLongRun = absl::Seconds(1);

}  // namespace

BatchWorker::BatchWorker(const runtime::CompiledModel& model,
                         std::unique_ptr<runtime::ExecutionContext> context,
                         StreamStatistics& statistics,
                         const std::function<void(const BatchReport&)>& on_batch)
    : model_(model), context_(std::move(context)), statistics_(statistics), on_batch_(on_batch) {}

absl::StatusOr<InferResult> BatchWorker::StoreOutputs(const InferTask& task, int caller) const {
  InferResult result;
  result.outputs.reserve(task.outputs.size());
  for (const int output : task.outputs) {
    OutputTensor tensor;
    tensor.shape = context_->OutputShape(output, caller);
    OCTET_ASSIGN_OR_RETURN(const size_t size,
                           CheckedByteSize(model_.outputs()[output].dtype, tensor.shape));
    OCTET_ASSIGN_OR_RETURN(tensor.bytes, OutputBytes::Allocate(size));
    context_->Store(output, caller, tensor.bytes.span());
    result.outputs.push_back(std::move(tensor));
  }
  return result;
}

absl::Status BatchWorker::Execute(const Batch& batch, InferTimes& times,
                                  std::vector<InferResult>& results) {
  absl::InlinedVector<const runtime::InputRows*, 32> callers;
  for (const auto& task : batch) callers.push_back(&task->input);
  OCTET_RETURN_IF_ERROR(context_->Load(callers));
  times.loaded = absl::Now();
  OCTET_RETURN_IF_ERROR(context_->Execute());
  times.executed = absl::Now();
  results.clear();
  results.reserve(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(InferResult result, StoreOutputs(*batch[i], static_cast<int>(i)));
    results.push_back(std::move(result));
  }
  times.stored = absl::Now();
  return absl::OkStatus();
}

// Counts first and answers then: who has an answer finds it in the statistics.
void BatchWorker::Finish(Batch& batch, const InferTimes& times, std::vector<InferResult>& results) {
  statistics_.CountRun(batch, times);
  if (on_batch_) on_batch_({batch, RowCount(batch), times});
  for (size_t i = 0; i < batch.size(); ++i) {
    results[i].times = times;
    results[i].times.queued = batch[i]->queued;
    std::move(batch[i]->done)(std::move(results[i]));
    batch[i].reset();
  }
}

void BatchWorker::RunAlone(Batch& batch) {
  std::vector<InferResult> results;
  for (auto& task : batch) {
    InferTimes times;
    times.taken = absl::Now();
    Batch single;
    single.push_back(std::move(task));
    absl::Status status = Execute(single, times, results);
    if (status.ok()) {
      Finish(single, times, results);
    } else {
      statistics_.CountFailure(absl::Now() - single.front()->queued);
      std::move(single.front()->done)(std::move(status));
    }
  }
}

void BatchWorker::Run(Batch batch, absl::Time taken,
                      absl::FunctionRef<void(absl::Duration)> measured) {
  InferTimes times;
  times.taken = taken;
  std::vector<InferResult> results;
  absl::Status status = Execute(batch, times, results);
  measured(absl::Now() - taken);
  if (status.ok()) return Finish(batch, times, results);
  if (batch.size() > 1) return RunAlone(batch);
  statistics_.CountFailure(absl::Now() - batch.front()->queued);
  std::move(batch.front()->done)(std::move(status));
}

absl::StatusOr<absl::Duration> BatchWorker::WarmUp(const runtime::InputRows& rows) {
  const runtime::InputRows* const callers[] = {&rows};
  absl::Duration elapsed = absl::ZeroDuration();
  for (int run = 0; run < 2 && elapsed < kLongRun; ++run) {
    const absl::Time start = absl::Now();
    OCTET_RETURN_IF_ERROR(context_->Load(callers));
    OCTET_RETURN_IF_ERROR(context_->Execute());
    elapsed = absl::Now() - start;
  }
  return elapsed;
}

std::optional<runtime::InputRows> ZeroRows(const runtime::CompiledModel& model, int64_t rows,
                                           std::vector<std::byte>& zeros) {
  runtime::InputRows result;
  result.rows = model.batchable() ? rows : 1;
  std::vector<size_t> sizes;
  for (const runtime::TensorSpec& spec : model.inputs()) {
    runtime::InputTensor& input = result.inputs.emplace_back();
    input.shape = spec.shape;
    if (model.batchable()) input.shape[0] = rows;
    const absl::StatusOr<size_t> size = CheckedByteSize(spec.dtype, input.shape);
    if (!size.ok()) return std::nullopt;
    sizes.push_back(*size);
  }
  zeros.resize(std::max(zeros.size(), *std::max_element(sizes.begin(), sizes.end())));
  for (size_t i = 0; i < sizes.size(); ++i) {
    result.inputs[i].pieces.push_back({zeros.data(), sizes[i]});
  }
  return result;
}

}  // namespace octet::server
