#include "graph/infer.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::graph {
namespace {

// Larger results are left to the plan: folding them would trade memory for little time.
constexpr size_t kMaxFoldedBytes = size_t{64} << 20;

absl::StatusOr<std::vector<Tensor>> RunReference(const Node& node,
                                                 std::span<const ConstTensorView> inputs,
                                                 const std::vector<TensorType>& types) {
  std::vector<Tensor> tensors;
  std::vector<TensorView> views;
  for (const TensorType& type : types) {
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(type.dtype, type.shape));
    tensors.push_back(std::move(tensor));
    views.push_back(tensors.back().mutable_view());
  }
  OCTET_RETURN_IF_ERROR(node.schema->reference(node, inputs, views));
  return tensors;
}

class Inferrer {
 public:
  explicit Inferrer(const Graph& graph) : graph_(graph) {
    result_.types.resize(graph.value_count());
    result_.constants.resize(graph.value_count());
  }

  absl::StatusOr<Inference> Run(std::span<const Shape> input_shapes) {
    for (size_t i = 0; i < graph_.value_count(); ++i) {
      const Value& value = graph_.value(static_cast<ValueId>(i));
      if (!value.constant) continue;
      result_.types[i] = value.type;
      if (value.constant->has_bytes() && !value.type.quant) result_.constants[i] = value.constant;
    }
    OCTET_RETURN_IF_ERROR(BindInputs(input_shapes));
    OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_.TopologicalOrder());
    for (const NodeId id : order) {
      const Node& node = graph_.node(id);
      if (absl::Status status = Visit(node); !status.ok()) {
        return Annotate(status, absl::StrCat("node ", node.name, " (", node.op, ")"));
      }
    }
    return std::move(result_);
  }

 private:
  absl::Status BindInputs(std::span<const Shape> shapes) {
    if (shapes.size() != graph_.inputs().size()) {
      return absl::InvalidArgumentError(absl::StrCat("the model has ", graph_.inputs().size(),
                                                     " inputs, got shapes for ", shapes.size()));
    }
    for (size_t i = 0; i < shapes.size(); ++i) {
      const ValueId id = graph_.inputs()[i].value;
      const Value& value = graph_.value(id);
      OCTET_RETURN_IF_ERROR(Annotate(CheckedByteSize(value.type.dtype, shapes[i]).status(),
                                     absl::StrCat("input ", value.name)));
      TensorType type = value.type;
      type.shape = shapes[i];
      result_.types[Index(id)] = std::move(type);
    }
    return absl::OkStatus();
  }

  absl::Status Visit(const Node& node) {
    std::vector<TensorType> real;  // operators see the real numbers that codes stand for
    real.reserve(node.inputs.size());
    std::vector<const TensorType*> types;
    std::vector<const Tensor*> constants;
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) {
        types.push_back(nullptr);
        constants.push_back(nullptr);
        continue;
      }
      const TensorType& type = result_.types[Index(id)];
      if (type.quant) {
        real.push_back({.dtype = DataType::kFloat32, .shape = type.shape});
        types.push_back(&real.back());
      } else {
        types.push_back(&type);
      }
      const auto& constant = result_.constants[Index(id)];
      constants.push_back(constant ? &*constant : nullptr);
    }
    OCTET_ASSIGN_OR_RETURN(const std::vector<TensorType> outputs,
                           node.schema->infer(InferContext(node, types, constants)));
    OCTET_RETURN_IF_ERROR(Record(node, outputs));
    if (CanFold(node, outputs)) return Fold(node, outputs);
    return absl::OkStatus();
  }

  absl::Status Record(const Node& node, const std::vector<TensorType>& outputs) {
    if (outputs.size() < node.outputs.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "has ", node.outputs.size(), " outputs, at most ", outputs.size(), " were expected"));
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      OCTET_RETURN_IF_ERROR(CheckedByteSize(outputs[i].dtype, outputs[i].shape).status());
      TensorType type = outputs[i];
      const TensorType& known = graph_.value(node.outputs[i]).type;
      if (known.quant) {
        type.dtype = known.dtype;
        type.quant = known.quant;
      }
      result_.types[Index(node.outputs[i])] = std::move(type);
    }
    return absl::OkStatus();
  }

  bool CanFold(const Node& node, const std::vector<TensorType>& outputs) const {
    if (node.schema->reference == nullptr || !node.fused.empty()) return false;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId id = node.outputs[i];
      if (id != kNoValue && result_.types[Index(id)].quant) return false;
      const auto bytes = CheckedByteSize(outputs[i].dtype, outputs[i].shape, kMaxFoldedBytes);
      if (!bytes.ok()) return false;
    }
    if (node.schema->shape_only) return true;
    return std::all_of(node.inputs.begin(), node.inputs.end(), [this](ValueId id) {
      return id == kNoValue || result_.constants[Index(id)].has_value();
    });
  }

  absl::Status Fold(const Node& node, const std::vector<TensorType>& outputs) {
    std::vector<ConstTensorView> inputs;
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) {
        inputs.emplace_back();
      } else if (result_.constants[Index(id)]) {
        inputs.push_back(result_.constants[Index(id)]->view());
      } else {  // shape_only: the elements are never read
        const TensorType& type = result_.types[Index(id)];
        inputs.push_back({.dtype = type.dtype, .shape = type.shape});
      }
    }
    OCTET_ASSIGN_OR_RETURN(std::vector<Tensor> tensors, RunReference(node, inputs, outputs));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) {
        result_.constants[Index(node.outputs[i])] = std::move(tensors[i]);
      }
    }
    return absl::OkStatus();
  }

  static size_t Index(ValueId id) { return static_cast<size_t>(id); }

  const Graph& graph_;
  Inference result_;
};

// Sizes to try for symbolic dimensions. Images want multiples of 32 large enough for five halvings;
// text recognizers want lines 48 or 32 high; sequences must stay below the longest position
// embedding.
struct ProbeSizes {
  int64_t first;   // the first dimension, usually the batch
  int64_t height;  // dimension 2 of inputs of rank 4 and 5
  int64_t width;   // their later dimensions
  int64_t other;   // of inputs of lower rank
};
constexpr std::array<std::pair<ProbeSizes, ProbeSizes>, 9> kProbes = {{
    {{2, 320, 320, 8}, {3, 640, 640, 16}},
    {{2, 64, 64, 64}, {3, 128, 128, 128}},
    {{2, 48, 320, 1}, {3, 48, 640, 2}},
    {{2, 32, 320, 8}, {3, 32, 640, 8}},
    {{2, 224, 224, 32}, {3, 224, 224, 32}},
    {{1, 320, 320, 8}, {1, 640, 640, 16}},
    {{1, 48, 320, 64}, {1, 48, 640, 128}},
    {{1, 224, 224, 8}, {1, 224, 224, 8}},
    {{1, 1, 1, 1}, {1, 1, 1, 1}},
}};

std::vector<Shape> ProbeShapes(const Graph& graph, const ProbeSizes& sizes) {
  absl::flat_hash_map<std::string, int64_t> by_symbol;
  std::vector<Shape> shapes;
  for (const Input& input : graph.inputs()) {
    Shape shape = graph.value(input.value).type.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (input.symbols[d].empty()) continue;
      const int64_t size = d == 0              ? sizes.first
                           : shape.size() <= 3 ? sizes.other
                           : d == 2            ? sizes.height
                                               : sizes.width;
      shape[d] = by_symbol.try_emplace(input.symbols[d], size).first->second;
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

// The common first symbol of all inputs, or "" if there is none.
std::string BatchSymbol(const Graph& graph) {
  std::string symbol;
  for (const Input& input : graph.inputs()) {
    if (input.symbols.empty() || input.symbols[0].empty()) return "";
    if (!symbol.empty() && input.symbols[0] != symbol) return "";
    symbol = input.symbols[0];
  }
  return symbol;
}

void MergeTypes(Graph& graph, const Inference& first, const Inference& second) {
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (graph.IsConstant(id)) continue;
    TensorType type = first.types[i];
    const Shape& other = second.types[i].shape;
    // A rank that depends on the request would leave nothing to say; it does not occur in practice.
    for (size_t d = 0; d < type.shape.size() && d < other.size(); ++d) {
      if (type.shape[d] != other[d]) type.shape[d] = kUnknownDim;
    }
    graph.mutable_type(id) = std::move(type);
  }
}

bool IsBatchable(const Graph& graph, const Inference& first, const Inference& second,
                 std::pair<int64_t, int64_t> sizes) {
  if (graph.inputs().empty() || sizes.first == sizes.second || BatchSymbol(graph).empty()) {
    return false;
  }
  return std::all_of(graph.outputs().begin(), graph.outputs().end(), [&](const Output& output) {
    const Shape& a = first.types[static_cast<size_t>(output.value)].shape;
    const Shape& b = second.types[static_cast<size_t>(output.value)].shape;
    return !a.empty() && !b.empty() && a[0] == sizes.first && b[0] == sizes.second;
  });
}

}  // namespace

absl::StatusOr<std::optional<std::vector<Tensor>>> EvaluateConstant(const Graph& graph,
                                                                    const Node& node) {
  std::vector<const TensorType*> types;
  std::vector<const Tensor*> constants;
  std::vector<ConstTensorView> views;
  for (const ValueId id : node.inputs) {
    const Value* value = id == kNoValue ? nullptr : &graph.value(id);
    if (value != nullptr &&
        (!value->constant || !value->constant->has_bytes() || value->type.quant)) {
      return std::nullopt;
    }
    types.push_back(value == nullptr ? nullptr : &value->type);
    constants.push_back(value == nullptr ? nullptr : &*value->constant);
    views.push_back(value == nullptr ? ConstTensorView() : value->constant->view());
  }
  if (node.schema->reference == nullptr || !node.fused.empty()) return std::nullopt;
  OCTET_ASSIGN_OR_RETURN(const std::vector<TensorType> outputs,
                         node.schema->infer(InferContext(node, types, constants)));
  for (const TensorType& type : outputs) {
    if (!CheckedByteSize(type.dtype, type.shape, kMaxFoldedBytes).ok()) return std::nullopt;
  }
  OCTET_ASSIGN_OR_RETURN(std::vector<Tensor> tensors, RunReference(node, views, outputs));
  return tensors;
}

absl::StatusOr<Inference> Infer(const Graph& graph, std::span<const Shape> input_shapes) {
  return Inferrer(graph).Run(input_shapes);
}

absl::StatusOr<Graph> Specialize(const Graph& graph, std::span<const Shape> input_shapes) {
  OCTET_ASSIGN_OR_RETURN(Inference inference, Infer(graph, input_shapes));
  Graph result = graph;
  for (size_t i = 0; i < result.value_count(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (result.IsConstant(id)) continue;
    if (inference.constants[i]) {
      result.MakeConstant(id, *std::move(inference.constants[i]));
    } else {
      result.mutable_type(id) = std::move(inference.types[i]);
    }
  }
  result.RemoveDeadNodes();
  return result;
}

absl::StatusOr<SymbolicTypes> InferSymbolicTypes(Graph& graph) {
  absl::Status first_error;
  for (const auto& [a, b] : kProbes) {
    std::vector<Shape> shapes_a = ProbeShapes(graph, a);
    absl::StatusOr<Inference> first = Infer(graph, shapes_a);
    absl::StatusOr<Inference> second =
        first.ok() ? Infer(graph, ProbeShapes(graph, b)) : first.status();
    if (!second.ok()) {
      if (first_error.ok()) first_error = second.status();
      continue;
    }
    SymbolicTypes result;
    result.batchable = IsBatchable(graph, *first, *second, {a.first, b.first});
    if (result.batchable) shapes_a = WithFirstDim(shapes_a, 1);
    result.example_shapes = std::move(shapes_a);
    MergeTypes(graph, *first, *second);
    return result;
  }
  return first_error;
}

std::vector<Shape> WithFirstDim(std::span<const Shape> example, int64_t first_dim) {
  std::vector<Shape> shapes(example.begin(), example.end());
  for (Shape& shape : shapes) {
    if (!shape.empty()) shape[0] = first_dim;
  }
  return shapes;
}

}  // namespace octet::graph
