// A model that comes quantized computes in integers, with its own parameters.
//
//   x -> QuantizeLinear -> DequantizeLinear -> operator -> QuantizeLinear -> ...
//
// becomes values that are stored as codes (TensorType::quant) between operators that read and write
// codes; octet.Quantize and octet.Dequantize stand where codes meet floats. Each rewrite is exact:
// rounding happens where the model rounds. A ReLU that the exporter left to a quantizer whose
// lowest code is zero stays with that quantizer.

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "graph/passes/expansion.h"
#include "graph/passes/passes.h"
#include "graph/passes/quantizer_nodes.h"

namespace octet::graph {
namespace {

constexpr size_t kWeight = 1;
constexpr char kQuantize[] = "octet.Quantize";
constexpr char kDequantize[] = "octet.Dequantize";

int32_t LowestCode(DataType type) {
  return type == DataType::kInt8 ? std::numeric_limits<int8_t>::min() : 0;
}

bool IsCodes(DataType type) { return type == DataType::kInt8 || type == DataType::kUint8; }

class Absorber {
 public:
  explicit Absorber(Graph& graph) : graph_(graph) {}

  absl::StatusOr<int> Run() {
    MoveOutOfIntegers();
    for (const NodeId id : graph_.NodesOfType("DequantizeLinear")) Pair(id);
    graph_.RemoveDeadNodes();  // the old quantizers, so that values have the readers that count
    for (const NodeId id : graph_.NodesOfType(kQuantize)) DropRelus(id);
    graph_.RemoveDeadNodes();
    OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_.TopologicalOrder());
    for (const NodeId id : order) {
      if (!graph_.IsLive(id)) continue;
      const Node& node = graph_.node(id);
      if (node.schema->quant == QuantRole::kCompute) {
        OCTET_RETURN_IF_ERROR(Compute(id));
      } else if (node.schema->quant == QuantRole::kCombine) {
        Combine(id);
      }
    }
    for (const NodeId id : graph_.NodesOfType(kQuantize)) {
      if (graph_.IsLive(id)) Carry(id);
    }
    return rewrites_;
  }

 private:
  const Node* ProducerOf(ValueId value) const {
    const auto producer = graph_.value(value).producer;
    return producer ? &graph_.node(*producer) : nullptr;
  }

  // The quantizer of one scale for the whole tensor, of a node between floats and codes.
  std::optional<CodeType> TensorQuantizerOf(const Node& node) const {
    std::optional<CodeType> type = QuantizerOf(graph_, node);
    if (type && type->params.axis) type.reset();
    return type;
  }

  // --- integer tensors ---

  // Operators that move codes as integers (MaxPool or Reshape of UINT8) move real numbers instead.
  void MoveOutOfIntegers() {
    std::vector<NodeId> pending = graph_.NodesOfType("DequantizeLinear");
    while (!pending.empty()) {
      const NodeId id = pending.back();
      pending.pop_back();
      const Node& dequantize = graph_.node(id);
      const std::optional<CodeType> type = TensorQuantizerOf(dequantize);
      const auto moved_by = graph_.value(dequantize.inputs[0]).producer;
      if (!type || !moved_by || !MovesIntegers(graph_.node(*moved_by))) continue;
      pending.push_back(MoveOutOfIntegers(*moved_by, dequantize));
    }
  }

  bool MovesIntegers(const Node& node) const {
    return node.schema->quant == QuantRole::kCarry && node.outputs.size() == 1 &&
           node.HasInput(0) && !graph_.IsConstant(node.inputs[0]) &&
           IsCodes(graph_.value(node.inputs[0]).type.dtype) &&
           !graph_.value(node.inputs[0]).type.quant;
  }

  // Returns the DequantizeLinear that now stands before the operator.
  NodeId MoveOutOfIntegers(NodeId id, const Node& dequantize) {
    const Node node = graph_.node(id);
    std::vector<ValueId> parameters(dequantize.inputs.begin() + 1, dequantize.inputs.end());
    const auto with = [&](ValueId value) {
      std::vector<ValueId> inputs = {value};
      inputs.insert(inputs.end(), parameters.begin(), parameters.end());
      return inputs;
    };
    const ValueId real = graph_.Apply("DequantizeLinear", node.name + ".float",
                                      with(node.inputs[0]), {}, FloatType(node.inputs[0]));
    std::vector<ValueId> inputs = node.inputs;
    inputs[0] = real;
    const ValueId moved = graph_.AddValue(node.name + ".real", FloatType(node.outputs[0]));
    Node mover = node;
    mover.inputs = std::move(inputs);
    mover.outputs = {moved};
    graph_.AddNode(std::move(mover));
    const ValueId codes = graph_.Apply("QuantizeLinear", node.name + ".codes", with(moved), {},
                                       graph_.value(node.outputs[0]).type);
    graph_.ReplaceAllUses(node.outputs[0], codes);
    graph_.RemoveNode(id);
    ++rewrites_;
    return *graph_.value(real).producer;
  }

  TensorType FloatType(ValueId value) const {
    return {.dtype = DataType::kFloat32, .shape = graph_.value(value).type.shape};
  }

  // --- pairs ---

  // QuantizeLinear -> DequantizeLinear becomes octet.Quantize -> octet.Dequantize.
  void Pair(NodeId id) {
    const Node dequantize = graph_.node(id);
    const ValueId real = dequantize.outputs[0];
    const std::optional<CodeType> type = TensorQuantizerOf(dequantize);
    if (!type || graph_.IsConstant(dequantize.inputs[0])) return;
    const Node* const before = ProducerOf(dequantize.inputs[0]);
    const bool pair = before != nullptr && before->op == "QuantizeLinear" &&
                      graph_.value(before->inputs[0]).type.dtype == DataType::kFloat32 &&
                      TensorQuantizerOf(*before) == type;
    if (!pair && !IsReadByLayer(real)) return;
    ++rewrites_;
    // Without its QuantizeLinear: the same codes made again, which is exact.
    const ValueId source = pair ? before->inputs[0] : real;
    const ValueId key = pair ? dequantize.inputs[0] : real;
    const auto known = paired_.find(key);
    if (known != paired_.end()) {
      graph_.ReplaceAllUses(real, known->second);
      return;
    }
    const std::vector<NodeId> readers = graph_.value(real).consumers;
    const ValueId codes = graph_.Apply(
        kQuantize, dequantize.name + ".quantize", {source}, {},
        {.dtype = type->dtype, .shape = graph_.value(real).type.shape, .quant = type->params});
    const ValueId result =
        graph_.Apply(kDequantize, dequantize.name + ".float", {codes}, {}, FloatType(real));
    paired_.emplace(key, result);
    if (pair) {
      graph_.ReplaceAllUses(real, result);
      return;
    }
    for (const NodeId reader : readers) {
      for (size_t i = 0; i < graph_.node(reader).inputs.size(); ++i) {
        if (graph_.node(reader).inputs[i] == real) graph_.SetInput(reader, i, result);
      }
    }
  }

  bool HasCodedWeight(const Node& node) const {
    return node.schema->quant == QuantRole::kCompute && node.HasInput(kWeight) &&
           graph_.IsConstant(node.inputs[kWeight]) &&
           graph_.value(node.inputs[kWeight]).type.quant.has_value();
  }

  bool IsReadByLayer(ValueId value) const {
    const auto& readers = graph_.value(value).consumers;
    return std::any_of(readers.begin(), readers.end(),
                       [&](NodeId id) { return HasCodedWeight(graph_.node(id)); });
  }

  // A quantizer whose lowest code is zero does what a ReLU before it does.
  void DropRelus(NodeId id) {
    const TensorType& type = graph_.value(graph_.node(id).outputs[0]).type;
    const ValueId input = graph_.node(id).inputs[0];
    const Node* const relu = ProducerOf(input);
    if (relu == nullptr || relu->op != "Relu" || graph_.OnlyConsumer(input) != id ||
        type.quant->zero_points[0] != LowestCode(type.dtype)) {
      return;
    }
    graph_.SetInput(id, 0, relu->inputs[0]);
    ++rewrites_;
  }

  // --- operators ---

  // The codes that the float `value` was made from.
  std::optional<ValueId> CodesOf(ValueId value) const {
    if (value == kNoValue) return std::nullopt;
    const Node* const producer = ProducerOf(value);
    if (producer == nullptr || producer->op != kDequantize) return std::nullopt;
    return producer->inputs[0];
  }

  // The octet.Quantize that is the only reader of `value`.
  std::optional<NodeId> QuantizerAfter(ValueId value) const {
    const std::optional<NodeId> reader = graph_.OnlyConsumer(value);
    if (!reader || graph_.node(*reader).op != kQuantize) return std::nullopt;
    return reader;
  }

  // The output is stored as the codes that `quantizer` makes of it.
  void Store(ValueId output, NodeId quantizer) {
    const ValueId codes = graph_.node(quantizer).outputs[0];
    graph_.mutable_type(output) = graph_.value(codes).type;
    graph_.ReplaceAllUses(codes, output);
    graph_.RemoveNode(quantizer);
    ++rewrites_;
  }

  absl::Status Compute(NodeId id) {
    if (!HasCodedWeight(graph_.node(id))) return absl::OkStatus();
    if (graph_.node(id).Int(kDynamicInt8, 0) != 0) return absl::OkStatus();
    const std::optional<ValueId> codes = CodesOf(graph_.node(id).inputs[0]);
    if (!codes) return BackToFloat(id);
    graph_.SetInput(id, 0, *codes);
    ++rewrites_;
    const ValueId output = graph_.node(id).outputs[0];
    const std::optional<NodeId> quantizer = QuantizerAfter(output);
    if (!quantizer) return absl::OkStatus();
    Store(output, *quantizer);
    // A residual is added as codes where the sum is stored as codes.
    for (const FusedOp& fused : graph_.node(id).fused) {
      if (fused.op != "Add") continue;
      const auto input = static_cast<size_t>(fused.input);
      const std::optional<ValueId> residual = CodesOf(graph_.node(id).inputs[input]);
      if (residual) graph_.SetInput(id, input, *residual);
    }
    return absl::OkStatus();
  }

  absl::Status BackToFloat(NodeId id) {
    const Value& weight = graph_.value(graph_.node(id).inputs[kWeight]);
    OCTET_ASSIGN_OR_RETURN(Tensor real, Dequantized(*weight.constant, *weight.type.quant));
    const std::string name = weight.name + ".float";
    graph_.SetInput(id, kWeight, graph_.AddConstant(name, std::move(real)));
    ++rewrites_;
    return absl::OkStatus();
  }

  void Combine(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.outputs.size() != 1 || !node.fused.empty()) return;
    const std::optional<NodeId> quantizer = QuantizerAfter(node.outputs[0]);
    if (!quantizer) return;
    std::vector<ValueId> operands;
    for (const ValueId input : node.inputs) {
      const std::optional<ValueId> codes = CodesOf(input);
      if (!codes) return;
      operands.push_back(*codes);
    }
    for (size_t i = 0; i < operands.size(); ++i) graph_.SetInput(id, i, operands[i]);
    Store(node.outputs[0], *quantizer);
  }

  // octet.Dequantize -> operators that move elements -> octet.Quantize with the same quantizer: the
  // codes are moved.
  void Carry(NodeId id) {
    const TensorType type = graph_.value(graph_.node(id).outputs[0]).type;
    std::vector<NodeId> chain;  // last operator first
    ValueId value = graph_.node(id).inputs[0];
    std::optional<ValueId> codes = CodesOf(value);
    for (NodeId reader = id; !codes; codes = CodesOf(value)) {
      const auto producer = graph_.value(value).producer;
      if (!producer || graph_.OnlyConsumer(value) != reader) return;
      const Node& mover = graph_.node(*producer);
      if (mover.schema->quant != QuantRole::kCarry || mover.outputs.size() != 1 ||
          !mover.fused.empty() || !mover.HasInput(0)) {
        return;
      }
      chain.push_back(*producer);
      reader = *producer;
      value = mover.inputs[0];
    }
    const TensorType& source = graph_.value(*codes).type;
    if (source.dtype != type.dtype || source.quant != type.quant) return;
    if (chain.empty()) {
      graph_.ReplaceAllUses(graph_.node(id).outputs[0], *codes);
      graph_.RemoveNode(id);
      ++rewrites_;
      return;
    }
    graph_.SetInput(chain.back(), 0, *codes);
    for (const NodeId mover : chain) {
      TensorType& moved = graph_.mutable_type(graph_.node(mover).outputs[0]);
      moved.dtype = type.dtype;
      moved.quant = type.quant;
    }
    Store(graph_.node(chain.front()).outputs[0], id);
  }

  Graph& graph_;
  int rewrites_ = 0;
  absl::flat_hash_map<ValueId, ValueId> paired_;  // octet.Dequantize's result, by what it replaces
};

}  // namespace

absl::StatusOr<int> AbsorbQuantization(Graph& graph) { return Absorber(graph).Run(); }

}  // namespace octet::graph
