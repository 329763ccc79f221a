#include "quant/rewrite.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::quant {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::TensorType;
using graph::ValueId;

// The readers of a value that take it as codes, or those that do not.
std::vector<std::pair<NodeId, size_t>> Readers(const Graph& graph, const Selection& selection,
                                               ValueId value, bool as_codes) {
  std::vector<std::pair<NodeId, size_t>> readers;
  NodeId previous{-1};
  for (const NodeId reader : graph.value(value).consumers) {
    if (reader == previous) continue;  // consumers of several inputs stand side by side
    previous = reader;
    const graph::Node& node = graph.node(reader);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == value && selection.ReadsCodes(graph, reader, i) == as_codes) {
        readers.emplace_back(reader, i);
      }
    }
  }
  return readers;
}

// Puts a conversion between `value` and some of its readers.
ValueId Convert(Graph& graph, ValueId value, absl::string_view op, TensorType type,
                const std::vector<std::pair<NodeId, size_t>>& readers) {
  const ValueId converted = graph.Apply(
      op, absl::StrCat(graph.value(value).name, op == "octet.Quantize" ? ".quantize" : ".float"),
      {value}, {}, std::move(type));
  for (const auto& [reader, input] : readers) graph.SetInput(reader, input, converted);
  return converted;
}

absl::Status NoWeights(const Graph& graph, NodeId layer) {
  return absl::InternalError(absl::StrCat("no weights for layer ", graph.node(layer).name));
}

// A node between the stored weights and the layer.
void ExpandAtRunTime(Graph& graph, NodeId layer, const std::string& name,
                     const FourBitWeights& weights) {
  const StoredWeights& stored = weights.stored;
  const PackedConstants& packed = *weights.packed;
  const Shape shape = graph.value(graph.node(layer).inputs[1]).type.shape;
  std::vector<ValueId> inputs = {graph.AddConstant(name + ".codes", packed.codes),
                                 graph.AddConstant(name + ".scales", packed.scales),
                                 graph::kNoValue, graph::kNoValue};
  if (packed.zero_points) {
    inputs[2] = graph.AddConstant(name + ".zero_points", *packed.zero_points);
  }
  if (packed.levels) inputs[3] = graph.AddConstant(name + ".levels", *packed.levels);
  const ValueId expanded =
      graph.Apply("octet.ExpandWeights", name, std::move(inputs),
                  {{"columns", stored.columns},
                   {"group", stored.group > 0 ? stored.group : stored.columns},
                   {"exponent", int64_t{stored.exponent}},
                   {"is_signed", int64_t{stored.format == StorageFormat::kInt4Groups ? 1 : 0}},
                   {"shape", std::vector<int64_t>(shape.begin(), shape.end())}},
                  {.dtype = DataType::kInt8, .shape = shape, .quant = weights.int8.params});
  graph.SetInput(layer, 1, expanded);
  graph.mutable_node(layer).attributes["octet.largest_column_sum"] = packed.largest_row_sum;
}

// Gives a layer the weights of its precision.
absl::Status ReplaceWeights(NodeId layer, Precision precision, const WeightsById& weights,
                            const FourBitWeightsById& four_bits, const BFloat16ById& bfloat16,
                            Graph& graph) {
  if (precision == Precision::kFloat32) return absl::OkStatus();
  const graph::Value& old = graph.value(graph.node(layer).inputs[1]);
  const std::string name = old.name;
  const uint64_t id = old.constant->id();
  if (precision == Precision::kBFloat16) {
    const auto found = bfloat16.find(id);
    if (found == bfloat16.end()) return NoWeights(graph, layer);
    graph.SetInput(layer, 1, graph.AddConstant(absl::StrCat(name, ".bf16"), found->second));
    return absl::OkStatus();
  }
  const QuantizedWeights* int8 = nullptr;
  if (HasFourBitWeights(precision)) {
    const auto found = four_bits.find(id);
    if (found == four_bits.end()) return NoWeights(graph, layer);
    if (found->second.packed) {
      ExpandAtRunTime(graph, layer, absl::StrCat(name, ".int8"), found->second);
      return absl::OkStatus();
    }
    int8 = &found->second.int8;
  } else {
    const auto found = weights.find(id);
    if (found == weights.end()) return NoWeights(graph, layer);
    int8 = &found->second;
  }
  graph.SetInput(layer, 1,
                 graph.AddConstant(absl::StrCat(name, ".int8"), int8->codes, int8->params));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Graph> Rewrite(const Graph& graph, const Selection& selection,
                              const std::vector<ValueQuantizer>& quantizers,
                              const WeightsById& weights, const FourBitWeightsById& four_bits,
                              const BFloat16ById& bfloat16) {
  Graph result = graph;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const int index = selection.quantizer[i];
    if (index < 0) continue;
    const auto value = static_cast<ValueId>(i);
    const ValueQuantizer& quantizer = quantizers[static_cast<size_t>(index)];
    const TensorType codes = {.dtype = quantizer.dtype,
                              .shape = graph.value(value).type.shape,
                              .quant = quantizer.params};
    if (!selection.stored[i]) {
      Convert(result, value, "octet.Quantize", codes, Readers(graph, selection, value, true));
      continue;
    }
    const auto float_readers = Readers(graph, selection, value, false);
    result.mutable_type(value) = codes;
    if (float_readers.empty() && !graph.IsGraphOutput(value)) continue;
    const ValueId converted =
        Convert(result, value, "octet.Dequantize", graph.value(value).type, float_readers);
    result.ReplaceOutput(value, converted);
  }
  for (const auto& [layer, precision] : selection.layers) {
    OCTET_RETURN_IF_ERROR(ReplaceWeights(layer, precision, weights, four_bits, bfloat16, result));
  }
  result.RemoveDeadNodes();
  OCTET_RETURN_IF_ERROR(result.Verify());
  return result;
}

}  // namespace octet::quant
