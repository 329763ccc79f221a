// In what precision attention multiplies: the setting transforms.attention_matmul, told to kernels
// (kernels/attention.h).

#pragma once

#include "graph/graph.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Marks the attention products of a quantized graph, if the options want bfloat16 and this
// processor multiplies it.
void MarkAttention(const QuantizeOptions& options, graph::Graph& quantized);

// Whether there is a product so marked.
bool HasBFloat16Attention(const graph::Graph& graph);

}  // namespace octet::runtime
