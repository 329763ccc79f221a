// Which nodes compute on integer codes, and which values are stored as codes between them.

#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace octet::quant {

// How a layer (a node that multiplies activations by weights) computes.
enum class Precision : uint8_t {
  kFloat32,
  kBFloat16,     // weights and activations rounded to bfloat16, sums in float32
  kInt8,         // activations quantized with ranges from calibration
  kInt8Dynamic,  // activations quantized row by row, by their own range, as they come
  // The same two with weights that are stored in 4 bits, and computed with in 8.
  kInt4,
  kInt4Dynamic,
};
absl::string_view Name(Precision precision);
inline bool HasFourBitWeights(Precision precision) {
  return precision == Precision::kInt4 || precision == Precision::kInt4Dynamic;
}

// Whether products are of 8-bit integers, in however many bits weights are stored.
inline bool IsInt8(Precision precision) {
  return precision != Precision::kFloat32 && precision != Precision::kBFloat16;
}

// Ordered: the quantized graph has to be the same, constant for constant, each time it is made
// (Graph::RestoreBytes).
using LayerPrecisions = std::map<graph::NodeId, Precision>;

// The layers of a graph that have int8 and bfloat16 kernels, in topological order: their weights
// are constant float32, and there are enough products per output to be worth it.
absl::StatusOr<std::vector<graph::NodeId>> QuantizableLayers(const graph::Graph& graph);

// The output-channel dimension of a layer's weights (input 1).
int WeightAxis(const graph::Node& layer, const Shape& weight_shape);

struct Selection {
  LayerPrecisions layers;
  std::vector<bool> on_codes;  // by NodeId: reads and writes codes
  std::vector<bool> stored;    // by ValueId: exists as codes only; float readers get a conversion
  // By ValueId: the value's quantizer, -1 if nobody reads it as codes. Values whose codes move
  // unchanged from one to the other (through MaxPool, Reshape, Concat ...) share one.
  std::vector<int> quantizer;
  int quantizer_count = 0;

  // Whether node `reader` takes its input at `index` as codes.
  bool ReadsCodes(const graph::Graph& graph, graph::NodeId reader, size_t index) const;
};

// Chains of int8 layers stay in codes through every operator between them that can compute on
// codes.
absl::StatusOr<Selection> Select(const graph::Graph& graph, const LayerPrecisions& layers);

}  // namespace octet::quant
