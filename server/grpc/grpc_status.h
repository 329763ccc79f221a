// absl::Status to grpc::Status: the codes are the same, the text is made fit for a header.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/status.h"

namespace octet::server {

grpc::Status ToGrpcStatus(const absl::Status& status);

// At most `limit` bytes of `text`, cut between characters.
std::string CutText(absl::string_view text, size_t limit);

}  // namespace octet::server
