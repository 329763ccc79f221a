#include "base/tensor.h"

#include <atomic>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/memory.h"
#include "base/status.h"

namespace octet {
namespace {

uint64_t NextId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::string ToText(const Shape& shape) {
  return absl::StrCat("[",
                      absl::StrJoin(shape, ",",
                                    [](std::string* out, int64_t dim) {
                                      absl::StrAppend(out,
                                                      dim == kUnknownDim ? "?" : absl::StrCat(dim));
                                    }),
                      "]");
}

int64_t ElementCount(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  return count;
}

absl::StatusOr<size_t> CheckedByteSize(DataType type, const Shape& shape, size_t limit_bytes) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t dim) { return dim < 0; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape ", ToText(shape), " has a negative dimension"));
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return size_t{0};
  size_t bytes = ByteSize(type);
  for (const int64_t dim : shape) {
    if (bytes > limit_bytes / static_cast<size_t>(dim)) {
      return absl::ResourceExhaustedError(absl::StrCat("a ", Name(type), " tensor of shape ",
                                                       ToText(shape), " is larger than ",
                                                       limit_bytes, " bytes"));
    }
    bytes *= static_cast<size_t>(dim);
  }
  return bytes;
}

absl::StatusOr<Tensor> Tensor::Allocate(DataType type, Shape shape) {
  OCTET_ASSIGN_OR_RETURN(const size_t bytes, CheckedByteSize(type, shape));
  Bytes memory = AllocateZeroed(bytes);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
  Tensor tensor;
  tensor.dtype_ = type;
  tensor.shape_ = std::move(shape);
  tensor.bytes_ = std::move(memory);
  tensor.id_ = NextId();
  return tensor;
}

absl::StatusOr<Tensor> Tensor::Copy(const ConstTensorView& view) {
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Allocate(view.dtype, view.shape));
  if (view.byte_size() > 0) std::memcpy(tensor.mutable_data(), view.data, view.byte_size());
  return tensor;
}

Tensor Tensor::Reshaped(Shape shape) const {
  Tensor result = *this;
  result.shape_ = std::move(shape);
  return result;
}

Tensor Tensor::WithBytesOf(const Tensor& other) const {
  Tensor result = *this;
  result.bytes_ = other.bytes_;
  return result;
}

bool Tensor::in_file() const { return std::get_deleter<UnmapFile>(bytes_) != nullptr; }

void Tensor::DropPages() const {
  if (in_file()) DropFilePages({data(), byte_size()});
}

Tensor Tensor::WithoutBytes() const {
  Tensor result = *this;
  result.bytes_.reset();
  return result;
}

}  // namespace octet
