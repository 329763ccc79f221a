// One inference request, from the bytes of the request to the bytes of the reply. Knows no gRPC:
// whoever owns the bytes gives them, and is called back with the reply.

#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/grpc/infer_reply.h"
#include "server/grpc/request_decoder.h"
#include "server/grpc/request_wire.h"
#include "server/metrics/metrics_registry.h"
#include "server/models/model_manager.h"
#include "server/models/servable_model.h"

namespace octet::server {

class InferExchange {
 public:
  // May destroy the exchange, which touches nothing of its own afterwards.
  using Done = absl::AnyInvocable<void(absl::StatusOr<InferReply>) &&>;

  InferExchange(const ModelManager& models, MetricsRegistry& metrics)
      : models_(models), metrics_(metrics) {}

  InferExchange(const InferExchange&) = delete;
  InferExchange& operator=(const InferExchange&) = delete;

  // Parses, finds the model, checks, and queues; never computes or waits. `done` is called exactly
  // once, here or on a stream's thread. The bytes and `cancelled` stay valid until then. Called at
  // most once.
  void Start(std::span<const Piece> bytes, absl::Time deadline, const std::atomic<bool>& cancelled,
             Done done);

  // The request's id, once started and parsed; "" before.
  const std::string& id() const { return request_.head.id(); }

 private:
  absl::Status Submit(std::span<const Piece> bytes, absl::Time deadline,
                      const std::atomic<bool>& cancelled);
  absl::Status Enqueue(absl::Time deadline, const std::atomic<bool>& cancelled);
  void Complete(absl::StatusOr<InferResult> result);
  void Finish(absl::StatusOr<InferReply> reply);

  const ModelManager& models_;
  MetricsRegistry& metrics_;
  absl::Time start_;
  Done done_;
  InferRequest request_;
  DecodedRequest decoded_;
  std::shared_ptr<ServableModel> model_;  // from when it is found until it has answered
};

}  // namespace octet::server
