// ONNX model file -> protobuf message, without the weights' bytes. Internal to graph/onnx.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {

struct ParsedModel {
  onnx::ModelProto proto;
  // For each of the graph's initializers its raw_data, if that is large: it was left in the file,
  // and is missing in `proto`. Empty for the others.
  std::vector<std::span<const std::byte>> raw_data;
};

// `file` outlives the result. InvalidArgument if it is no ONNX model or damaged, ResourceExhausted
// from 2 GiB.
absl::StatusOr<ParsedModel> ParseModel(std::span<const std::byte> file);

}  // namespace octet::graph
