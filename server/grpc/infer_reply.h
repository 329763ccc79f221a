// A ModelInferResponse in parts: text that is written here, and outputs that stay where they are.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/batching/infer_task.h"
#include "server/grpc/request_decoder.h"

namespace octet::server {

// `text`, then `bytes`.
struct ReplyPart {
  std::string text;
  OutputBytes bytes;
};

using InferReply = std::vector<ReplyPart>;

size_t ByteCount(const InferReply& reply);

// Outputs are always raw, one entry for each, in the order of `request`; large ones are handed on
// without a copy.
InferReply EncodeInferReply(absl::string_view model_name, absl::string_view model_version,
                            absl::string_view id, const ModelSignature& model,
                            const DecodedRequest& request, InferResult result);

// The same as the infer_response of a ModelStreamInferResponse.
void WrapAsStreamReply(InferReply& reply);

// A ModelStreamInferResponse for a request that failed.
std::string EncodeStreamError(absl::string_view message, absl::string_view id);

}  // namespace octet::server
