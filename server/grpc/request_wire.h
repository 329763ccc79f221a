// Splits a serialized ModelInferRequest without copying its tensors.
//
// Nearly all bytes of a request are in field 7, raw_input_contents. Protobuf would copy them; this
// splitter finds them in the slices as they came from the network, and leaves everything else, a
// few hundred bytes, to protobuf. Nothing here trusts a length, a count or a depth.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "proto/open_inference.pb.h"

namespace octet::server {

using Piece = std::span<const std::byte>;

// One entry of raw_input_contents, in pieces. Borrowed.
struct RawInput {
  absl::InlinedVector<Piece, 4> pieces;
  size_t size = 0;
};

struct InferRequest {
  inference::ModelInferRequest head;  // everything but raw_input_contents
  std::vector<RawInput> raw_inputs;
};

// The wire format of a request, split but not parsed.
struct SplitRequest {
  std::string head;  // a serialized ModelInferRequest
  std::vector<RawInput> raw_inputs;
};

// InvalidArgument for damaged bytes, and for more entries than any model has inputs.
absl::StatusOr<SplitRequest> SplitInferRequest(std::span<const Piece> pieces);

// Splits and parses into `request`, whose spans borrow from `pieces`. InvalidArgument for whatever
// is not a ModelInferRequest, or would take far more memory than it has bytes.
absl::Status ParseInferRequest(std::span<const Piece> pieces, InferRequest& request);

}  // namespace octet::server
