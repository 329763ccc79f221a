// Attention spelled as MatMul, Softmax and MatMul, in one step: softmax(factor * Q * K' + mask) *
// V, a few heads at a time, so that the scores never leave the cache. The arithmetic is oneDNN's
// (matmul, softmax), in float32 or with products of bfloat16.

#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/lowering.h"

namespace octet::kernels {

// Of a MatMul that multiplies the result of a Softmax: its products, and those in front of the
// Softmax, may be of bfloat16.
inline constexpr char kBFloat16Attention[] = "octet.bfloat16_attention";

// The nodes of one, which nobody else reads from: `absorbed` are all but `product`, in order.
struct AttentionPattern {
  graph::NodeId product{};  // by V
  std::vector<graph::NodeId> absorbed;
  graph::Node node;  // what stands for all of them: inputs Q, K', V and the mask if there is one
  float factor = 1;
  bool side_by_side = false;  // the result is read with the heads of a token beside each other
};

// All in a graph for concrete shapes.
std::vector<AttentionPattern> FindAttention(const graph::Graph& graph);

// `context` is for the pattern's node. False if oneDNN has no fast kernel for it.
absl::StatusOr<bool> LowerAttention(LoweringContext& context, const AttentionPattern& pattern);

// How many of each dimension of [batch, heads, rows, keys] scores are computed at a time: whole
// heads where they fit in some 128 KiB.
struct AttentionChunk {
  int64_t batch = 1, heads = 1, rows = 1;
};
AttentionChunk ChunkOf(int64_t batch, int64_t heads, int64_t rows, int64_t keys);

}  // namespace octet::kernels
