// What quantizing a layer does to its own result, whatever becomes of that further on: cheap, since
// one run of the network tells it of all layers.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/selection.h"
#include "runtime/activation_ranges.h"
#include "runtime/evaluate.h"
#include "runtime/layer_weights.h"

namespace octet::runtime {

// Power of the noise by that of the signal, of each of these layers' results in its precision with
// exact inputs, over the samples; 0 of float32. A float network is run in which each layer stands a
// second time, quantized; `weights` has what the precisions need. Errors are those of choosing
// ranges and of running a graph.
absl::StatusOr<std::vector<double>> LocalNoise(const graph::Graph& graph,
                                               std::span<const graph::NodeId> layers,
                                               const std::vector<quant::Precision>& precisions,
                                               const LayerWeights& weights,
                                               const std::string& algorithm,
                                               ActivationRanges& ranges, Samples samples);

}  // namespace octet::runtime
