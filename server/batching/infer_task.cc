#include "server/batching/infer_task.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace octet::server {

void OutputBytes::Free::operator()(std::byte* data) const { std::free(data); }

absl::StatusOr<OutputBytes> OutputBytes::Allocate(size_t size) {
  OutputBytes block;
  // One byte at least: transports need an address even for a tensor without elements.
  block.data_.reset(static_cast<std::byte*>(std::malloc(size == 0 ? 1 : size)));
  if (block.data_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for an output of ", size, " bytes"));
  }
  block.size_ = size;
  return block;
}

}  // namespace octet::server
