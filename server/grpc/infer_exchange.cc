#include "server/grpc/infer_exchange.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"

namespace octet::server {
namespace {

ModelSignature SignatureOf(const ServableModel& model) {
  return {.inputs = model.model().inputs(),
          .outputs = model.model().outputs(),
          .max_batch_size = model.max_batch_size()};
}

}  // namespace

void InferExchange::Start(std::span<const Piece> bytes, absl::Time deadline,
                          const std::atomic<bool>& cancelled, Done done) {
  start_ = absl::Now();
  done_ = std::move(done);
  absl::Status status = Submit(bytes, deadline, cancelled);
  // Once submitted, another thread may have finished and destroyed this exchange.
  if (!status.ok()) Finish(std::move(status));
}

absl::Status InferExchange::Submit(std::span<const Piece> bytes, absl::Time deadline,
                                   const std::atomic<bool>& cancelled) {
  OCTET_RETURN_IF_ERROR(ParseInferRequest(bytes, request_));
  const inference::ModelInferRequest& head = request_.head;
  OCTET_ASSIGN_OR_RETURN(model_, models_.Acquire(head.model_name(), head.model_version()));
  while (true) {
    const absl::Status status = Enqueue(deadline, cancelled);
    if (!absl::IsUnavailable(status)) return status;
    // The model closed after it was found. If another has taken its place, that one serves.
    auto successor = models_.Acquire(head.model_name(), head.model_version());
    if (!successor.ok() || *successor == model_) return status;
    model_ = *std::move(successor);
  }
}

absl::Status InferExchange::Enqueue(absl::Time deadline, const std::atomic<bool>& cancelled) {
  absl::StatusOr<DecodedRequest> decoded = DecodeInferRequest(request_, SignatureOf(*model_));
  if (!decoded.ok()) return model_->Annotated(decoded.status());
  decoded_ = *std::move(decoded);

  auto task = std::make_unique<InferTask>();
  task->input = std::move(decoded_.input);
  task->outputs = decoded_.outputs;
  task->deadline = deadline;
  task->queue_deadline = start_ + decoded_.timeout;
  task->urgent = decoded_.urgent;
  task->cancelled = &cancelled;
  task->done = [this](absl::StatusOr<InferResult> result) { Complete(std::move(result)); };
  // The answer may come, and let go of the model, before Enqueue() has returned.
  const std::shared_ptr<ServableModel> model = model_;
  return model->Enqueue(task);
}

void InferExchange::Complete(absl::StatusOr<InferResult> result) {
  if (!result.ok()) return Finish(model_->Annotated(result.status()));
  Finish(EncodeInferReply(model_->name(), model_->version_text(), request_.head.id(),
                          SignatureOf(*model_), decoded_, *std::move(result)));
}

// Counts first: who has an answer finds it in the metrics.
void InferExchange::Finish(absl::StatusOr<InferReply> reply) {
  if (model_ != nullptr) {
    model_->metrics().CountRequest(reply.status().code(),
                                   std::max(absl::Now() - start_, absl::ZeroDuration()));
    // A model that was replaced is freed when it has answered its last request.
    model_.reset();
  } else {
    metrics_.CountUnroutedRequest(reply.status().code());
  }
  Done done = std::move(done_);
  std::move(done)(std::move(reply));
}

}  // namespace octet::server
