#include "graph/onnx/import.h"

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/graph_builder.h"
#include "graph/onnx/parse_model.h"
#include "graph/onnx/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {
namespace {

constexpr int kOldestIrVersion = 3;

// `file` is what lies behind the model's bytes; null: memory.
absl::StatusOr<ImportedModel> ImportModel(ParsedModel model, const MappedFile* file,
                                          const std::string& directory, const OpRegistry& registry,
                                          ReadRecord* record, std::shared_ptr<TensorFile> weights) {
  if (model.proto.ir_version() < kOldestIrVersion) {
    return absl::UnimplementedError(
        absl::StrCat("IR version ", model.proto.ir_version(), " is older than ", kOldestIrVersion));
  }
  OCTET_ASSIGN_OR_RETURN(const Opsets opsets, ReadOpsets(model.proto.opset_import(), {}));
  const ExternalData external{directory, record};
  GraphBuilder builder(registry, opsets, external, std::move(weights));
  OCTET_RETURN_IF_ERROR(builder.AddFunctions(model.proto));
  OCTET_ASSIGN_OR_RETURN(Graph graph, builder.Build(model, file));
  OCTET_RETURN_IF_ERROR(graph.TopologicalOrder().status());
  OCTET_ASSIGN_OR_RETURN(SymbolicTypes types, InferSymbolicTypes(graph));
  return ImportedModel{.graph = std::move(graph),
                       .batchable = types.batchable,
                       .example_shapes = std::move(types.example_shapes),
                       .opset = opsets.at(""),
                       .warnings = builder.warnings()};
}

}  // namespace

absl::StatusOr<ImportedModel> ImportOnnx(std::span<const std::byte> file,
                                         const std::string& directory, const OpRegistry& registry,
                                         ReadRecord* record) {
  OCTET_ASSIGN_OR_RETURN(ParsedModel model, ParseModel(file));
  return ImportModel(std::move(model), nullptr, directory, registry, record, nullptr);
}

absl::StatusOr<ImportedModel> ImportOnnxFile(const std::string& path, const OpRegistry& registry,
                                             ReadRecord* record,
                                             std::shared_ptr<TensorFile> weights) {
  OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (record != nullptr) OCTET_RETURN_IF_ERROR(record->Add(path, file));
  absl::StatusOr<ParsedModel> parsed = ParseModel(file.bytes());
  if (!parsed.ok()) return Annotate(parsed.status(), path);
  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  absl::StatusOr<ImportedModel> model =
      ImportModel(*std::move(parsed), &file, directory, registry, record, std::move(weights));
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
