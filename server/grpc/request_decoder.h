// Checks a request against the model it names, and turns it into rows for the batcher.
//
// Everything is checked here, before the request can meet others in a batch: a bad request never
// touches a good one. Payloads are not copied: rows borrow from the network's slices or from the
// parsed message, but for typed contents that have to be narrowed to 8 or 16 bits.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/compiled_model.h"
#include "server/grpc/request_wire.h"

namespace octet::server {

// What a model expects. Borrowed.
struct ModelSignature {
  std::span<const runtime::TensorSpec> inputs;
  std::span<const runtime::TensorSpec> outputs;
  int64_t max_batch_size = 0;  // 0: no batch dimension
};

struct DecodedRequest {
  runtime::InputRows input;

  // Outputs in the order of the reply, as indices into the model's; classes[i] is the number of
  // classes wanted of outputs[i], or 0 for the tensor itself.
  absl::InlinedVector<int, 4> outputs;
  absl::InlinedVector<int64_t, 4> classes;

  absl::Duration timeout = absl::InfiniteDuration();  // longest wait in the queue
  bool urgent = false;

  std::vector<std::unique_ptr<std::byte[]>> narrowed;  // what `input` borrows of ours
};

// InvalidArgument for whatever does not fit; the message names tensor, expected and received. The
// result borrows from `request`.
absl::StatusOr<DecodedRequest> DecodeInferRequest(const InferRequest& request,
                                                  const ModelSignature& model);

}  // namespace octet::server
