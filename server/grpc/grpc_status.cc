#include "server/grpc/grpc_status.h"

namespace octet::server {
namespace {

// Clients accept 8 KiB of trailing metadata, in which every odd byte is written as three.
constexpr size_t kLongestMessage = 2000;

}  // namespace

std::string CutText(absl::string_view text, size_t limit) {
  if (text.size() <= limit) return std::string(text);
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string text = status.message().empty() ? "no details are known"
                                                    : CutText(status.message(), kLongestMessage);
  return {static_cast<grpc::StatusCode>(status.code()), text};
}

}  // namespace octet::server
