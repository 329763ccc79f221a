// The passes, one file each; pipeline.cc is their order. Each returns how many places it changed.

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

// Removes what does nothing: Identity, Dropout, Casts to the same type, Slices of everything, Pads
// by nothing, and the like.
absl::StatusOr<int> RemoveIdentity(Graph& graph);

// Nodes that compute the same become one.
absl::StatusOr<int> MergeCommonSubexpressions(Graph& graph);

// Arithmetic with constants in one spelling: Sub and Div become Add and Mul, chains one of them.
absl::StatusOr<int> SimplifyArithmetic(Graph& graph);

// Transposes that undo each other, also across elementwise operators.
absl::StatusOr<int> SimplifyTransposes(Graph& graph);

// A Reshape of what was only reshaped reads the original.
absl::StatusOr<int> MergeReshapes(Graph& graph);

// A Pad with zeros before a Conv becomes the Conv's own padding.
absl::StatusOr<int> FoldPad(Graph& graph);

// Conv, ConvTranspose, Gemm or MatMul followed by BatchNormalization: scaled weights and a bias.
absl::StatusOr<int> FoldBatchNorm(Graph& graph);

// The same followed by an addition of one constant per output channel: a bias.
absl::StatusOr<int> FoldBias(Graph& graph);

// The same with factors behind or before, or additions before: into weights and bias.
absl::StatusOr<int> FoldScale(Graph& graph);

// Relu, Clip, and Min or Max with a constant, in a row: one Clip.
absl::StatusOr<int> FuseClips(Graph& graph);

// Several nodes that spell one activation function: Gelu, Swish, HardSwish, HardSigmoid, Mish.
absl::StatusOr<int> FuseActivationPatterns(Graph& graph);

// Several nodes that spell LayerNormalization or RMSNormalization.
absl::StatusOr<int> FuseLayerNormalization(Graph& graph);

// Elementwise operators, scalar factors and residual additions into the Conv, ConvTranspose, Gemm
// or MatMul before them.
absl::StatusOr<int> FuseElementwise(Graph& graph);

}  // namespace octet::graph
