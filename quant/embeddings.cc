#include "quant/embeddings.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/weights.h"

namespace octet::quant {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;

constexpr size_t kLeastBytes = size_t{64} << 10;
constexpr size_t kTable = 0, kIndices = 1;

bool LooksUpRows(const Graph& graph, const graph::Node& node, ValueId table) {
  if (graph.value(node.outputs[0]).type.quant) return false;
  const int64_t axis = node.Int("axis", 0);
  return node.op == "Gather" && node.fused.empty() && node.inputs[kTable] == table &&
         node.inputs[kIndices] != table && (axis == 0 || axis == -2);
}

bool IsTable(const Graph& graph, ValueId id) {
  const graph::Value& value = graph.value(id);
  if (!value.constant || !value.constant->has_bytes() || graph.IsGraphOutput(id)) return false;
  if (value.type.quant || value.constant->dtype() != DataType::kFloat32) return false;
  if (value.constant->shape().size() != 2 || value.constant->byte_size() < kLeastBytes) {
    return false;
  }
  return !value.consumers.empty() &&
         std::all_of(value.consumers.begin(), value.consumers.end(),
                     [&](NodeId reader) { return LooksUpRows(graph, graph.node(reader), id); });
}

absl::StatusOr<EmbeddingTable> Quantized(const Tensor& table, bool zero_non_finite) {
  OCTET_ASSIGN_OR_RETURN(
      QuantizedWeights quantized,
      QuantizeWeights(table.view(),
                      {.estimator = "min_max", .axis = 0, .zero_non_finite = zero_non_finite}));
  return EmbeddingTable{std::move(quantized.codes),
                        Tensor::Of<float>({table.shape()[0]}, quantized.params.scales)};
}

void Replace(const EmbeddingTable& table, ValueId id, Graph& graph) {
  const graph::Value old = graph.value(id);
  const ValueId codes = graph.AddConstant(absl::StrCat(old.name, ".int8"), table.codes);
  const ValueId scales = graph.AddConstant(absl::StrCat(old.name, ".scales"), table.scales);
  for (const NodeId reader : old.consumers) {
    const graph::Node& gather = graph.node(reader);
    graph.ReplaceNode(reader, {.op = "octet.Embedding",
                               .name = gather.name,
                               .inputs = {codes, scales, gather.inputs[kIndices]}});
  }
}

}  // namespace

absl::StatusOr<int> QuantizeEmbeddings(bool zero_non_finite, EmbeddingsById& known, Graph& graph) {
  int tables = 0;
  const size_t count = graph.value_count();  // of values that were there before
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!IsTable(graph, id)) continue;
    const Tensor& table = *graph.value(id).constant;
    auto found = known.find(table.id());
    if (found == known.end()) {
      absl::StatusOr<EmbeddingTable> quantized = Quantized(table, zero_non_finite);
      if (!quantized.ok()) {
        return Annotate(quantized.status(), absl::StrCat("embedding table ", graph.value(id).name));
      }
      quantized->codes = graph.Hold(std::move(quantized->codes));
      table.DropPages();
      found = known.emplace(table.id(), *std::move(quantized)).first;
    }
    Replace(found->second, id, graph);
    ++tables;
  }
  if (tables > 0) graph.RemoveDeadNodes();
  return tables;
}

}  // namespace octet::quant
