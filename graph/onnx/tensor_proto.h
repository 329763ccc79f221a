// TensorProto -> Tensor. Internal to graph/onnx.

#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/read_record.h"
#include "base/tensor.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {

// The element type at the border, or Unimplemented naming what Octet lacks (strings, 4-bit, ...).
absl::StatusOr<DataType> BorderType(int onnx_type);

// Where tensors outside the model file are.
struct ExternalData {
  std::string directory;         // empty: none allowed
  ReadRecord* record = nullptr;  // what is read of them is added here
};

// In the engine's types. `raw_data`, unless empty, is the field of that name, which `proto` then
// has not got; if it lies in `file`, little of that is in memory at a time. Checks that the
// elements are as many as the shape says before anything is allocated for them.
absl::StatusOr<Tensor> DecodeTensor(const onnx::TensorProto& proto, const ExternalData& external,
                                    std::span<const std::byte> raw_data = {},
                                    const MappedFile* file = nullptr);

}  // namespace octet::graph
