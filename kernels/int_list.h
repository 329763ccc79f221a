// Lists of integers that older opsets have as an attribute and newer ones as an input: axes, pads,
// starts, sizes.

#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/op_schema.h"

namespace octet::kernels {

// Input `index` if it is there, else the attribute; empty if neither is. During inference the
// input must be constant (see InferContext::ConstantInts) and of rank 0 or 1.
absl::StatusOr<std::vector<int64_t>> IntList(const graph::InferContext& context, int index,
                                             absl::string_view attribute);

// The same on values, after inference has accepted them.
std::vector<int64_t> IntList(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             size_t index, absl::string_view attribute);

// The elements of an INT64 or INT32 tensor; of other types none.
std::vector<int64_t> Ints(const ConstTensorView& view);

// Calls function(span of the elements) for an INT64 or INT32 tensor, as index inputs are.
template <typename Function>
decltype(auto) VisitIndices(const ConstTensorView& indices, Function&& function) {
  if (indices.dtype == DataType::kInt64) return function(indices.As<int64_t>());
  return function(indices.As<int32_t>());
}

// InvalidArgument unless the input is there and INT64 or INT32.
absl::Status ExpectIndices(const graph::InferContext& context, int input);

// InvalidArgument saying which index does not fit an axis of that size.
absl::Status IndexError(int64_t index, int64_t size);

// An index counted from the front; -1 if it is out of range.
inline int64_t WrapIndex(int64_t index, int64_t size) {
  if (index < 0) index += size;
  return index >= 0 && index < size ? index : -1;
}

}  // namespace octet::kernels
