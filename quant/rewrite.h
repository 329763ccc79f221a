// The quantized graph: layers with integer weights, and values stored as codes between them.

#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/bfloat16_weights.h"
#include "quant/four_bits.h"
#include "quant/selection.h"
#include "quant/weights.h"

namespace octet::quant {

// Quantized weights by the float constant's Tensor::id(), made once for all attempts.
using WeightsById = absl::flat_hash_map<uint64_t, QuantizedWeights>;

// A value's quantizer.
struct ValueQuantizer {
  DataType dtype = DataType::kUint8;
  graph::QuantParams params;
};

// `graph` with octet.Quantize and octet.Dequantize where codes meet floats. `quantizers` are those
// of `selection`, by index; `weights` has the weights of every layer of an 8-bit precision,
// `four_bits` those of the 4-bit ones, `bfloat16` those of bfloat16 layers. What the graph computes
// is unchanged but for rounding.
absl::StatusOr<graph::Graph> Rewrite(const graph::Graph& graph, const Selection& selection,
                                     const std::vector<ValueQuantizer>& quantizers,
                                     const WeightsById& weights,
                                     const FourBitWeightsById& four_bits = {},
                                     const BFloat16ById& bfloat16 = {});

}  // namespace octet::quant
