// ONNX model file -> Graph.
//
// Opset 7 and newer, IR version 3 and newer. float16, bfloat16 and double become float32; the
// graph's inputs and outputs remember the file's own types.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/read_record.h"
#include "graph/graph.h"

namespace octet::graph {

struct ImportedModel {
  Graph graph;  // types inferred, see InferSymbolicTypes()
  bool batchable = false;
  std::vector<Shape> example_shapes;  // see SymbolicTypes
  int opset = 0;
  std::vector<std::string> warnings;  // what was narrowed or ignored
};

// `directory` is where external data files are looked for; they must lie inside it.
//   InvalidArgument    not an ONNX file, damaged, or inconsistent
//   Unimplemented      lists every node that Octet cannot run, and why
//   ResourceExhausted  tensors or shapes beyond the limits
absl::StatusOr<ImportedModel> ImportOnnx(std::span<const std::byte> file,
                                         const std::string& directory, const OpRegistry& registry,
                                         ReadRecord* record = nullptr);

// Reads the file first. What is read, of external data too, is added to `record` unless that is
// null; its errors end the import. Large weights go to `weights` unless that is null, one after the
// other, as Graph::HoldConstantsIn() says: all of them are never in memory.
absl::StatusOr<ImportedModel> ImportOnnxFile(const std::string& path, const OpRegistry& registry,
                                             ReadRecord* record = nullptr,
                                             std::shared_ptr<TensorFile> weights = nullptr);

// A serialized TensorProto, as in ONNX's test data, in the engine's types.
absl::StatusOr<Tensor> ReadTensorProto(std::span<const std::byte> file);

}  // namespace octet::graph
