#include "quant/selection.h"

#include <algorithm>
#include <numeric>

#include "base/status.h"

namespace octet::quant {
namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::QuantRole;
using graph::ValueId;

// Below this the conversions cost more than the products.
constexpr int64_t kMinMatMulDepth = 16;

size_t Index(NodeId id) { return static_cast<size_t>(id); }
size_t Index(ValueId id) { return static_cast<size_t>(id); }

bool IsFloat(const Graph& graph, ValueId id) {
  const graph::TensorType& type = graph.value(id).type;
  return type.dtype == DataType::kFloat32 && !type.quant;
}

bool IsQuantizableLayer(const Graph& graph, const Node& node) {
  if (node.schema->quant != QuantRole::kCompute || !node.HasInput(1)) return false;
  if (!graph.IsConstant(node.inputs[1]) || !IsFloat(graph, node.inputs[1])) return false;
  if (!node.HasInput(0) || graph.IsConstant(node.inputs[0]) || !IsFloat(graph, node.inputs[0])) {
    return false;
  }
  const Shape& weight = graph.value(node.inputs[1]).type.shape;
  if (node.op == "Conv") return weight.size() >= 3;
  if (node.op != "Gemm" && node.op != "MatMul") return false;
  if (node.Int("transA", 0) != 0 || node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1) {
    return false;
  }
  return weight.size() == 2 &&
         ElementCount(weight) / weight[WeightAxis(node, weight)] >= kMinMatMulDepth;
}

// An operator that computes on codes if its neighbours do.
bool IsBetween(const Graph& graph, const Node& node) {
  const QuantRole role = node.schema->quant;
  if (role != QuantRole::kCarry && role != QuantRole::kCombine) return false;
  if (node.outputs.size() != 1 || !node.fused.empty() || !IsFloat(graph, node.outputs[0])) {
    return false;
  }
  const size_t operands = role == QuantRole::kCarry ? 1 : node.inputs.size();
  for (size_t i = 0; i < operands; ++i) {
    if (!node.HasInput(i) || !IsFloat(graph, node.inputs[i]) || graph.IsConstant(node.inputs[i])) {
      return false;
    }
  }
  return true;
}

class Selector {
 public:
  Selector(const Graph& graph, const LayerPrecisions& layers) : graph_(graph) {
    size_t nodes = 0;
    for (const NodeId id : graph.Nodes()) nodes = std::max(nodes, Index(id) + 1);
    selection_.layers = layers;
    selection_.on_codes.assign(nodes, false);
    selection_.stored.assign(graph.value_count(), false);
    selection_.quantizer.assign(graph.value_count(), -1);
  }

  Selection Run() {
    for (const NodeId id : graph_.Nodes()) {
      const auto layer = selection_.layers.find(id);
      selection_.on_codes[Index(id)] =
          layer != selection_.layers.end()
              ? layer->second == Precision::kInt8 || layer->second == Precision::kInt4
              : IsBetween(graph_, graph_.node(id));
    }
    DropIsolated();
    StoreWhatIsRead();
    AssignQuantizers();
    return std::move(selection_);
  }

 private:
  bool OnCodes(NodeId id) const { return selection_.on_codes[Index(id)]; }
  bool IsLayer(NodeId id) const { return selection_.layers.contains(id); }

  // An operator between layers is worth running on codes only if codes come in and are wanted out.
  void DropIsolated() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const NodeId id : graph_.Nodes()) {
        if (!OnCodes(id) || IsLayer(id)) continue;
        if (GetsCodes(id) && IsWanted(graph_.node(id).outputs[0])) continue;
        selection_.on_codes[Index(id)] = false;
        changed = true;
      }
    }
  }

  bool GetsCodes(NodeId id) const {
    const Node& node = graph_.node(id);
    return std::any_of(node.inputs.begin(), node.inputs.end(), [this](ValueId input) {
      if (input == kNoValue) return false;
      const auto producer = graph_.value(input).producer;
      return producer && OnCodes(*producer);
    });
  }

  bool IsWanted(ValueId value) const {
    const auto& readers = graph_.value(value).consumers;
    return std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
      const Node& node = graph_.node(reader);
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] == value && selection_.ReadsCodes(graph_, reader, i)) return true;
      }
      return false;
    });
  }

  // Storing one value may make its layer read a residual as codes, so this repeats.
  void StoreWhatIsRead() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const NodeId id : graph_.Nodes()) {
        if (!OnCodes(id)) continue;
        const ValueId output = graph_.node(id).outputs[0];
        if (selection_.stored[Index(output)] || !IsWanted(output)) continue;
        selection_.stored[Index(output)] = true;
        changed = true;
      }
    }
  }

  int Root(int value) {
    while (parent_[value] != value) value = parent_[value] = parent_[parent_[value]];
    return value;
  }
  void Join(ValueId a, ValueId b) {
    parent_[Root(static_cast<int>(a))] = Root(static_cast<int>(b));
  }

  void AssignQuantizers() {
    parent_.resize(graph_.value_count());
    std::iota(parent_.begin(), parent_.end(), 0);
    for (const NodeId id : graph_.Nodes()) {
      if (!OnCodes(id) || IsLayer(id)) continue;
      const Node& node = graph_.node(id);
      const bool same_grid = node.schema->quant == QuantRole::kCarry || node.op == "Concat";
      if (!same_grid) continue;
      const size_t operands = node.schema->quant == QuantRole::kCarry ? 1 : node.inputs.size();
      for (size_t i = 0; i < operands; ++i) Join(node.inputs[i], node.outputs[0]);
    }
    absl::flat_hash_map<int, int> by_root;
    for (size_t i = 0; i < graph_.value_count(); ++i) {
      if (!IsWanted(static_cast<ValueId>(i))) continue;
      const auto [it, added] =
          by_root.try_emplace(Root(static_cast<int>(i)), selection_.quantizer_count);
      if (added) ++selection_.quantizer_count;
      selection_.quantizer[i] = it->second;
    }
  }

  const Graph& graph_;
  Selection selection_;
  std::vector<int> parent_;
};

}  // namespace

absl::string_view Name(Precision precision) {
  switch (precision) {
    case Precision::kInt8:
      return "int8";
    case Precision::kInt8Dynamic:
      return "int8 dynamic";
    case Precision::kInt4:
      return "int4";
    case Precision::kInt4Dynamic:
      return "int4 dynamic";
    case Precision::kBFloat16:
      return "bf16";
    default:
      return "fp32";
  }
}

absl::StatusOr<std::vector<NodeId>> QuantizableLayers(const Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(std::vector<NodeId> layers, graph.TopologicalOrder());
  std::erase_if(layers, [&](NodeId id) { return !IsQuantizableLayer(graph, graph.node(id)); });
  return layers;
}

int WeightAxis(const Node& layer, const Shape& weight_shape) {
  if (layer.op == "Conv") return 0;
  if (layer.op == "Gemm" && layer.Int("transB", 0) != 0) return 0;
  return static_cast<int>(weight_shape.size()) - 1;
}

bool Selection::ReadsCodes(const Graph& graph, NodeId reader, size_t index) const {
  if (!on_codes[Index(reader)]) return false;
  const Node& node = graph.node(reader);
  if (!layers.contains(reader)) {
    return node.schema->quant == QuantRole::kCombine || index == 0;
  }
  if (index == 0) return true;
  // A residual is added to codes where the sum is stored as codes, in float otherwise.
  const bool residual =
      std::any_of(node.fused.begin(), node.fused.end(), [&](const graph::FusedOp& fused) {
        return fused.op == "Add" && fused.input == static_cast<int>(index);
      });
  return residual && stored[Index(node.outputs[0])];
}

absl::StatusOr<Selection> Select(const Graph& graph, const LayerPrecisions& layers) {
  return Selector(graph, layers).Run();
}

}  // namespace octet::quant
