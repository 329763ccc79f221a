// What many operators' shape inference shares.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/op_schema.h"

namespace octet::kernels {

using graph::InferContext;
using graph::TensorType;

// One output of input 0's type.
absl::StatusOr<std::vector<TensorType>> SameAsInput(const InferContext& context);

// One output: all inputs broadcast together (numpy's rules), of input 0's element type. All inputs
// must have the same element type.
absl::StatusOr<std::vector<TensorType>> BroadcastInputs(const InferContext& context);

// The same with kBool elements.
absl::StatusOr<std::vector<TensorType>> BroadcastToBool(const InferContext& context);

// InvalidArgument if the shapes do not broadcast.
absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b);

// An axis counted from the front; InvalidArgument unless -rank <= axis < rank.
absl::StatusOr<int> NormalizeAxis(int64_t axis, int rank);
absl::StatusOr<std::vector<int>> NormalizeAxes(std::span<const int64_t> axes, int rank);

// The element type that an ONNX attribute such as Cast's `to` names by number. Unimplemented for
// the types that Octet has not got.
absl::StatusOr<DataType> ElementTypeOf(int64_t onnx_number);

// Float weights may be stored as bfloat16; models do not come with them, octet makes them.
bool IsBFloat16Weight(const InferContext& context, int input);

// InvalidArgument naming the input unless it has that element type.
absl::Status ExpectType(const InferContext& context, int input, DataType type);

}  // namespace octet::kernels
