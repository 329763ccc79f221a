// The passes, one file each; pipeline.cc is their order.

#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace octet::graph {

// Operators of ONNX Runtime's optimizers become the ONNX operators they were fused from.
absl::StatusOr<int> ExpandFusions(Graph& graph);

// QLinearConv, QLinearMatMul and the nodes of dynamic quantization around MatMulInteger become
// operators on real numbers between DequantizeLinear and QuantizeLinear.
absl::StatusOr<int> ExpandIntegerProducts(Graph& graph);

// Constant weights behind DequantizeLinear become constants with a quantizer, where the model
// quantizes the activations too.
absl::StatusOr<int> ReadQuantizedWeights(Graph& graph);

// QuantizeLinear and DequantizeLinear become quantizers of values, and what stands between them
// computes on codes.
absl::StatusOr<int> AbsorbQuantization(Graph& graph);

// Nodes whose inputs are all constant become constants; all but those of type `op`.
absl::StatusOr<int> FoldConstants(Graph& graph);
absl::StatusOr<int> FoldConstantsExcept(Graph& graph, absl::string_view op);

// Removes what does nothing: Identity, Dropout, Casts to the same type, and the like.
absl::StatusOr<int> RemoveIdentity(Graph& graph);

// Conv, ConvTranspose or Gemm followed by BatchNormalization: one Conv with scaled weights.
absl::StatusOr<int> FoldBatchNorm(Graph& graph);

// Conv, Gemm or MatMul followed by an addition of one constant per output channel: a bias.
absl::StatusOr<int> FoldBias(Graph& graph);

// Patterns of several nodes that spell one operator: Gelu, Swish, HardSwish, LayerNormalization.
absl::StatusOr<int> FuseActivationPatterns(Graph& graph);
absl::StatusOr<int> FuseLayerNormalization(Graph& graph);

// Elementwise operators and residual additions into the Conv, Gemm or MatMul before them.
absl::StatusOr<int> FuseElementwise(Graph& graph);

}  // namespace octet::graph
