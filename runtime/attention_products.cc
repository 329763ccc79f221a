#include "runtime/attention_products.h"

#include <algorithm>

#include "kernels/attention.h"
#include "runtime/mode.h"

namespace octet::runtime {
namespace {

bool MultipliesShares(const graph::Graph& graph, const graph::Node& node) {
  const auto& producer = graph.value(node.inputs[0]).producer;
  return producer && graph.node(*producer).op == "Softmax" && !graph.IsConstant(node.inputs[1]);
}

}  // namespace

void MarkAttention(const QuantizeOptions& options, graph::Graph& quantized) {
  using Products = QuantizeOptions::AttentionProducts;
  if (options.attention == Products::kFloat32 || !ThisProcessor().bfloat16) return;
  for (const graph::NodeId id : quantized.NodesOfType("MatMul")) {
    if (!MultipliesShares(quantized, quantized.node(id))) continue;
    quantized.mutable_node(id).attributes[kernels::kBFloat16Attention] = int64_t{1};
  }
}

bool HasBFloat16Attention(const graph::Graph& graph) {
  const std::vector<graph::NodeId> nodes = graph.Nodes();
  return std::any_of(nodes.begin(), nodes.end(), [&](graph::NodeId id) {
    return graph.node(id).Has(kernels::kBFloat16Attention);
  });
}

}  // namespace octet::runtime
