// Weights as bfloat16: half the bytes, eight bits of precision, the range of float32.

#pragma once

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "quant/selection.h"

namespace octet::quant {

// Every element of a float32 tensor rounded to nearest even; what is larger than bfloat16 holds
// becomes infinite. InvalidArgument for another type.
absl::StatusOr<Tensor> ToBFloat16(const ConstTensorView& weights);

// Weights as bfloat16 by the float constant's Tensor::id(), made once for all attempts.
using BFloat16ById = absl::flat_hash_map<uint64_t, Tensor>;

// Adds those of the bfloat16 layers that are missing in `rounded`.
absl::Status RoundWeights(const graph::Graph& graph, const LayerPrecisions& layers,
                          BFloat16ById& rounded);

}  // namespace octet::quant
