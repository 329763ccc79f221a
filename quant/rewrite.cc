#include "quant/rewrite.h"

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

}  // namespace

absl::StatusOr<Graph> Rewrite(const Graph& graph, const Selection& selection,
                              const std::vector<ValueQuantizer>& quantizers,
                              const WeightsById& weights) {
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
    if (precision == Precision::kFloat32) continue;
    const ValueId old = result.node(layer).inputs[1];
    const auto found = weights.find(result.value(old).constant->id());
    if (found == weights.end()) {
      return absl::InternalError(absl::StrCat("no weights for layer ", result.node(layer).name));
    }
    result.SetInput(layer, 1,
                    result.AddConstant(absl::StrCat(result.value(old).name, ".int8"),
                                       found->second.codes, found->second.params));
  }
  result.RemoveDeadNodes();
  OCTET_RETURN_IF_ERROR(result.Verify());
  return result;
}

}  // namespace octet::quant
