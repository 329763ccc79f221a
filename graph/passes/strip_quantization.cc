#include "graph/passes/strip_quantization.h"

// A model that comes quantized as the float model it was made of: QuantizeLinear and the
// DequantizeLinear behind it go, so that ranges can be chosen anew. Weights become floats when
// constants are folded.
//
// Exporters leave out a ReLU or ReLU6 before a quantizer whose codes begin at zero, since that cuts
// off the same: where nothing says that the values are not negative, a Clip takes its place.

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "graph/passes/expansion.h"
#include "graph/passes/quantizer_nodes.h"

namespace octet::graph {
namespace {

// Operators between a quantizer and a dequantizer that move codes; more than models have.
constexpr int kMostMovers = 64;

class Stripper {
 public:
  explicit Stripper(Graph& graph) : graph_(graph) {}

  int Run() {
    int rewrites = 0;
    for (const NodeId id : graph_.NodesOfType("DequantizeLinear")) {
      const std::optional<ValueId> floats = FloatsBehind(graph_.node(id).inputs[0], kMostMovers);
      if (!floats) continue;
      graph_.ReplaceAllUses(graph_.node(id).outputs[0], *floats);
      ++rewrites;
    }
    for (const NodeId id : graph_.Nodes()) {
      rewrites += static_cast<int>(graph_.mutable_node(id).attributes.erase(kDynamicInt8));
    }
    return rewrites;
  }

 private:
  // What these codes were made of; nothing if they are a constant or come from outside.
  std::optional<ValueId> FloatsBehind(ValueId codes, int movers) {
    if (const auto known = floats_.find(codes); known != floats_.end()) return known->second;
    const std::optional<NodeId> producer = graph_.value(codes).producer;
    if (!producer) return std::nullopt;
    const Node& node = graph_.node(*producer);
    std::optional<ValueId> floats;
    if (node.op == "QuantizeLinear") {
      floats = WithoutQuantizer(node);
    } else if (movers > 0 && node.schema->quant == QuantRole::kCarry && node.outputs.size() == 1 &&
               node.HasInput(0)) {
      const std::optional<ValueId> input = FloatsBehind(node.inputs[0], movers - 1);
      if (input) floats = Moved(graph_.node(*producer), *input);
    }
    if (floats) floats_[codes] = *floats;
    return floats;
  }

  // The operator that moved codes moves floats.
  ValueId Moved(Node mover, ValueId input) {
    TensorType type = graph_.value(mover.outputs[0]).type;
    type.dtype = graph_.value(input).type.dtype;
    mover.name += ".float";
    mover.inputs[0] = input;
    mover.outputs = {graph_.AddValue(mover.name, type)};
    const ValueId result = mover.outputs[0];
    graph_.AddNode(std::move(mover));
    return result;
  }

  ValueId WithoutQuantizer(const Node& quantize) {
    const ValueId floats = quantize.inputs[0];
    const std::optional<CodeType> type = QuantizerOf(graph_, quantize);
    if (!type || type->params.axis || !StandsForAClip(floats, *type)) return floats;
    const float last = type->dtype == DataType::kInt8 ? std::numeric_limits<int8_t>::max()
                                                      : std::numeric_limits<uint8_t>::max();
    const float high =
        type->params.scales[0] * (last - static_cast<float>(type->params.zero_points[0]));
    const std::string name = quantize.name + ".clip";
    const auto bound = [&](float value) {
      return graph_.AddConstant(name, Tensor::Of<float>({}, std::vector<float>{value}));
    };
    return graph_.Apply("Clip", name, {floats, bound(0), bound(high)}, {},
                        graph_.value(floats).type);
  }

  bool StandsForAClip(ValueId floats, const CodeType& type) const {
    const int32_t lowest = type.dtype == DataType::kInt8 ? std::numeric_limits<int8_t>::min() : 0;
    const auto producer = graph_.value(floats).producer;
    if (type.params.zero_points[0] != lowest || !producer) return false;
    static constexpr std::array<absl::string_view, 6> kLayers = {
        "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "BatchNormalization"};
    const std::string& op = graph_.node(*producer).op;
    return std::find(kLayers.begin(), kLayers.end(), op) != kLayers.end();
  }

  Graph& graph_;
  absl::flat_hash_map<ValueId, ValueId> floats_;  // by their codes
};

}  // namespace

absl::StatusOr<int> StripQuantization(Graph& graph) { return Stripper(graph).Run(); }

}  // namespace octet::graph
