// How matrix products that measure ranges at run time do so: the settings of activations.scheme and
// activations.granularity, told to kernels (kernels/dynamic_product.h).

#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/selection.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Marks the nodes of a quantized graph, by the options and the rules for layers.
void MarkRowRanges(const QuantizeOptions& options, const quant::LayerPrecisions& layers,
                   graph::Graph& quantized);

// InvalidArgument (Q007) if the rule asks for a range per token of a layer that has none.
absl::Status CheckRowRanges(const graph::Node& layer, const LayerRule& rule);

}  // namespace octet::runtime
