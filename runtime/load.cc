#include "runtime/load.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/import.h"
#include "graph/pass.h"
#include "kernels/operator.h"
#include "runtime/served_model.h"

namespace octet::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loader {
 public:
  Loader(const std::string& path, const LoadOptions& options) : path_(path), options_(options) {}

  absl::StatusOr<std::shared_ptr<const CompiledModel>> Run() {
    const Clock::time_point start = Clock::now();
    Progress("import", path_);
    OCTET_ASSIGN_OR_RETURN(graph::ImportedModel model,
                           graph::ImportOnnxFile(path_, kernels::Registry()));
    parts_.float32_weight_bytes = WeightBytes(model.graph);
    OCTET_RETURN_IF_ERROR(graph::RunPasses(model.graph, graph::FloatPipeline()).status());
    Describe(model);
    parts_.summary.mode = "fp32";
    parts_.summary.warnings = model.warnings;
    // Plans that come later may want a weight in another form than those of today.
    const auto rebuild = [path = path_]() -> absl::StatusOr<graph::Graph> {
      OCTET_ASSIGN_OR_RETURN(graph::ImportedModel again,
                             graph::ImportOnnxFile(path, kernels::Registry()));
      OCTET_RETURN_IF_ERROR(graph::RunPasses(again.graph, graph::FloatPipeline()).status());
      return std::move(again.graph);
    };
    parts_.plans = std::make_unique<ModelPlans>(std::move(model.graph), rebuild);
    OCTET_RETURN_IF_ERROR(CompileBatchSizes(model.example_shapes));
    parts_.plans->ReleaseWeights();
    parts_.summary.load_seconds = SecondsSince(start);
    return MakeServedModel(std::move(parts_));
  }

 private:
  void Progress(absl::string_view stage, const std::string& detail) const {
    if (options_.progress) options_.progress(stage, detail);
  }

  static size_t WeightBytes(const graph::Graph& graph) {
    size_t bytes = 0;
    for (size_t i = 0; i < graph.value_count(); ++i) {
      const auto& constant = graph.value(static_cast<graph::ValueId>(i)).constant;
      if (constant && constant->dtype() == DataType::kFloat32) bytes += constant->byte_size();
    }
    return bytes;
  }

  void Describe(const graph::ImportedModel& model) {
    for (const graph::Input& input : model.graph.inputs()) {
      const graph::Value& value = model.graph.value(input.value);
      parts_.inputs.push_back({value.name, input.border_type, value.type.shape});
    }
    for (const graph::Output& output : model.graph.outputs()) {
      parts_.outputs.push_back(
          {output.name, output.border_type, model.graph.value(output.value).type.shape});
    }
    parts_.batchable = model.batchable;
    parts_.threads = options_.threads;
    if (!model.batchable) return;
    parts_.batch_sizes.clear();
    for (int64_t size = 1; size < options_.max_batch_size; size *= 2) {
      parts_.batch_sizes.push_back(size);
    }
    parts_.batch_sizes.push_back(options_.max_batch_size);
  }

  // Largest first: its layouts are the ones worth packing weights for.
  absl::Status CompileBatchSizes(std::span<const Shape> example_shapes) {
    for (auto size = parts_.batch_sizes.rbegin(); size != parts_.batch_sizes.rend(); ++size) {
      Progress("compile", absl::StrCat("batch size ", *size));
      const std::vector<Shape> shapes =
          parts_.batchable ? graph::WithFirstDim(example_shapes, *size)
                           : std::vector<Shape>(example_shapes.begin(), example_shapes.end());
      OCTET_RETURN_IF_ERROR(parts_.plans->Pin(shapes).status());
    }
    return absl::OkStatus();
  }

  const std::string& path_;
  const LoadOptions& options_;
  ServedModelParts parts_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const CompiledModel>> LoadModel(const std::string& path,
                                                               const LoadOptions& options) {
  absl::StatusOr<std::shared_ptr<const CompiledModel>> model = Loader(path, options).Run();
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

}  // namespace octet::runtime
