// Element types that an attribute names: `to` of Cast, `dtype` of EyeLike, ...

#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/data_type.h"
#include "graph/node.h"

namespace octet::kernels {

// The type whose number (onnx.TensorProto.DataType) the attribute holds, `fallback` if there is no
// such attribute; kFloat16, kBFloat16 and kFloat64 as themselves, see ComputeType(). Unimplemented
// for types that Octet lacks.
absl::StatusOr<DataType> TypeAttribute(const graph::Node& node, absl::string_view attribute,
                                       DataType fallback);

}  // namespace octet::kernels
