// Dense, row-major tensors: owned (Tensor) and borrowed (TensorView, ConstTensorView).

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "base/data_type.h"

namespace octet {

// Dimensions, outermost first; empty for a scalar. A dimension that is not known yet is
// kUnknownDim; tensors and views never have one.
using Shape = absl::InlinedVector<int64_t, 6>;
inline constexpr int64_t kUnknownDim = -1;

// "[1,3,224,224]"; an unknown dimension prints as "?".
std::string ToText(const Shape& shape);

// Product of the dimensions. The shape must be known and small enough for int64.
int64_t ElementCount(const Shape& shape);

// Bytes of a dense tensor. InvalidArgument for a negative dimension, ResourceExhausted if the
// product exceeds `limit_bytes`: shapes from files and clients go through here first.
inline constexpr size_t kMaxTensorBytes = size_t{8} << 30;
absl::StatusOr<size_t> CheckedByteSize(DataType type, const Shape& shape,
                                       size_t limit_bytes = kMaxTensorBytes);

struct ConstTensorView {
  DataType dtype = DataType::kFloat32;
  Shape shape;
  const std::byte* data = nullptr;  // null: an optional input that was left out

  bool present() const { return data != nullptr; }
  int64_t size() const { return ElementCount(shape); }
  int rank() const { return static_cast<int>(shape.size()); }
  size_t byte_size() const { return static_cast<size_t>(size()) * ByteSize(dtype); }
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(data), static_cast<size_t>(size())};
  }
};

struct TensorView {
  DataType dtype = DataType::kFloat32;
  Shape shape;
  std::byte* data = nullptr;  // null: an optional output that nobody reads

  bool present() const { return data != nullptr; }
  int64_t size() const { return ElementCount(shape); }
  int rank() const { return static_cast<int>(shape.size()); }
  size_t byte_size() const { return static_cast<size_t>(size()) * ByteSize(dtype); }
  template <typename T>
  std::span<T> As() const {
    return {reinterpret_cast<T*>(data), static_cast<size_t>(size())};
  }
  // NOLINTNEXTLINE(google-explicit-constructor): what may be written may be read
  operator ConstTensorView() const { return {dtype, shape, data}; }
};

// Copies share bytes; bytes are written only by the one who allocated them, before sharing.
class Tensor {
 public:
  Tensor() = default;

  // Bytes are 64-byte aligned and zero. Errors are CheckedByteSize's.
  static absl::StatusOr<Tensor> Allocate(DataType type, Shape shape);

  // The same elements in memory of its own.
  static absl::StatusOr<Tensor> Copy(const ConstTensorView& view);

  // From values; the shape must hold exactly values.size() elements.
  template <typename T>
  static Tensor Of(Shape shape, std::span<const T> values);
  template <typename T>
  static Tensor Of(Shape shape, std::initializer_list<T> values) {
    return Of<T>(std::move(shape), std::span<const T>(values.begin(), values.size()));
  }
  template <typename T>
  static Tensor Scalar(T value) {
    return Of<T>({}, {value});
  }

  DataType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return ElementCount(shape_); }
  size_t byte_size() const { return static_cast<size_t>(size()) * ByteSize(dtype_); }

  // Equal for copies, different for every other tensor that was ever allocated; 0 when empty.
  // Stays when the bytes are released, so it can key what was made from them.
  uint64_t id() const { return id_; }

  // The same bytes under another shape with as many elements.
  Tensor Reshaped(Shape shape) const;

  // The same type, shape and id without the bytes; data() is null from then on.
  Tensor WithoutBytes() const;
  // The reverse: this tensor's identity with the bytes of one of the same type and shape.
  Tensor WithBytesOf(const Tensor& other) const;
  bool has_bytes() const { return bytes_ != nullptr; }
  // Whether other tensors, or what was made from one, hold these bytes too.
  bool shares_bytes() const { return bytes_.use_count() > 1; }

  // Whether the bytes lie in a TensorFile, read-only.
  bool in_file() const;
  // If so, lets go of the memory that they are in; they stay readable.
  void DropPages() const;

  const std::byte* data() const { return bytes_.get(); }
  std::byte* mutable_data() { return bytes_.get(); }
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(data()), static_cast<size_t>(size())};
  }
  template <typename T>
  std::span<T> MutableAs() {
    return {reinterpret_cast<T*>(mutable_data()), static_cast<size_t>(size())};
  }
  ConstTensorView view() const { return {dtype_, shape_, data()}; }
  TensorView mutable_view() { return {dtype_, shape_, mutable_data()}; }

 private:
  friend class TensorFile;

  DataType dtype_ = DataType::kFloat32;
  Shape shape_ = {0};
  std::shared_ptr<std::byte[]> bytes_;
  uint64_t id_ = 0;
};

template <typename T>
Tensor Tensor::Of(Shape shape, std::span<const T> values) {
  Tensor tensor = *Allocate(DataTypeOf<T>(), std::move(shape));
  std::copy(values.begin(), values.end(), tensor.MutableAs<T>().begin());
  return tensor;
}

}  // namespace octet
