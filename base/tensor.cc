#include "base/tensor.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace octet {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

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
  const size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
  std::memset(memory, 0, rounded);
  Tensor tensor;
  tensor.dtype_ = type;
  tensor.shape_ = std::move(shape);
  tensor.bytes_ = std::shared_ptr<std::byte[]>(static_cast<std::byte*>(memory),
                                               [](std::byte* bytes) { std::free(bytes); });
  tensor.id_ = NextId();
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

Tensor Tensor::WithoutBytes() const {
  Tensor result = *this;
  result.bytes_.reset();
  return result;
}

}  // namespace octet
