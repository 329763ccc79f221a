// Tensors that come as lists of numbers in the message instead of as raw bytes.

#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/data_type.h"
#include "proto/open_inference.pb.h"
#include "server/grpc/request_wire.h"

namespace octet::server {

// Elements in all fields together.
int ContentsSize(const inference::InferTensorContents& contents);

// The bytes of `elements` elements of `type`: those of the message where it stores them as we do,
// and otherwise of a block that is added to `narrowed`. InvalidArgument for the wrong field, the
// wrong number of elements, and values that `type` cannot hold.
absl::StatusOr<Piece> TypedBytes(const inference::ModelInferRequest::InferInputTensor& input,
                                 DataType type, size_t elements,
                                 std::vector<std::unique_ptr<std::byte[]>>& narrowed);

}  // namespace octet::server
