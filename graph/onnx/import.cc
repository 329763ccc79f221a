#include "graph/onnx/import.h"

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/graph_builder.h"
#include "graph/onnx/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {
namespace {

constexpr int kOldestIrVersion = 3;

absl::Status ParseModel(std::span<const std::byte> file, onnx::ModelProto& model) {
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::ResourceExhaustedError(
        "the file is larger than 2 GiB; larger models keep their weights as external data");
  }
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())) || !model.has_graph()) {
    return absl::InvalidArgumentError("not an ONNX model, or a damaged one");
  }
  if (model.ir_version() < kOldestIrVersion) {
    return absl::UnimplementedError(
        absl::StrCat("IR version ", model.ir_version(), " is older than ", kOldestIrVersion));
  }
  return absl::OkStatus();
}

absl::StatusOr<ImportedModel> ImportModel(onnx::ModelProto model, const std::string& directory,
                                          const OpRegistry& registry, ReadRecord* record) {
  OCTET_ASSIGN_OR_RETURN(const Opsets opsets, ReadOpsets(model.opset_import(), {}));
  const ExternalData external{directory, record};
  GraphBuilder builder(registry, opsets, external);
  OCTET_RETURN_IF_ERROR(builder.AddFunctions(model));
  OCTET_ASSIGN_OR_RETURN(Graph graph, builder.Build(model.mutable_graph()));
  OCTET_RETURN_IF_ERROR(graph.TopologicalOrder().status());
  OCTET_ASSIGN_OR_RETURN(SymbolicTypes types, InferSymbolicTypes(graph));
  return ImportedModel{.graph = std::move(graph),
                       .batchable = types.batchable,
                       .example_shapes = std::move(types.example_shapes),
                       .opset = opsets.at(""),
                       .warnings = builder.warnings()};
}

// The file is not needed, and not in memory, once it is parsed.
absl::StatusOr<onnx::ModelProto> ParseModelFile(const std::string& path, ReadRecord* record) {
  OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (record != nullptr) OCTET_RETURN_IF_ERROR(record->Add(path, file.bytes()));
  onnx::ModelProto model;
  const absl::Status status = ParseModel(file.bytes(), model);
  if (!status.ok()) return Annotate(status, path);
  return model;
}

}  // namespace

absl::StatusOr<ImportedModel> ImportOnnx(std::span<const std::byte> file,
                                         const std::string& directory, const OpRegistry& registry,
                                         ReadRecord* record) {
  onnx::ModelProto model;
  OCTET_RETURN_IF_ERROR(ParseModel(file, model));
  return ImportModel(std::move(model), directory, registry, record);
}

absl::StatusOr<ImportedModel> ImportOnnxFile(const std::string& path, const OpRegistry& registry,
                                             ReadRecord* record) {
  OCTET_ASSIGN_OR_RETURN(onnx::ModelProto proto, ParseModelFile(path, record));
  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  absl::StatusOr<ImportedModel> model = ImportModel(std::move(proto), directory, registry, record);
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

absl::StatusOr<Tensor> ReadTensorProto(std::span<const std::byte> file) {
  onnx::TensorProto proto;
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    return absl::InvalidArgumentError("not an ONNX tensor, or a damaged one");
  }
  return DecodeTensor(proto, {});
}

}  // namespace octet::graph
