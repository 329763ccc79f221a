// The layers of a network that can be quantized, and the precision that each starts with: by rule,
// by mode, and by what 4 bits are for.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/selection.h"
#include "runtime/quantize_model.h"
#include "runtime/recipe.h"

namespace octet::runtime {

struct LayerList {
  std::vector<graph::NodeId> nodes;     // in topological order
  std::vector<LayerReport> reports;     // what is known before anything is quantized
  std::vector<const LayerRule*> rules;  // of `options`; null: none
  std::vector<std::string> warnings;    // also Q013, Q016
};

// `has_samples`: for ranges of activations. Errors are those of shape inference, and
//   InvalidArgument     with options.strict, a rule that matches no layer; CheckRowRanges()'; an
//                       algorithm that clips a transformer's activations (Q012)
//   FailedPrecondition  a rule asks for ranges from samples, and there are none
absl::StatusOr<LayerList> ListLayers(const graph::Graph& graph,
                                     std::span<const Shape> example_shapes,
                                     const QuantizeOptions& options, Recipe recipe,
                                     bool has_samples);

// Whether matrix products that have samples take their ranges token by token all the same.
bool TakesRangesByToken(const QuantizeOptions& options, Recipe recipe);

// `dynamic`: activations are quantized at run time.
quant::Precision PrecisionOf(LayerMode mode, bool dynamic);

// Whether any layer multiplies 8-bit integers.
bool AnyInt8(const std::vector<quant::Precision>& precisions);

// The shares of the work, from the layers' precisions.
void FillShares(QuantizeReport& report);

// Whether any layer has 4-bit weights.
bool AnyFourBits(const std::vector<LayerReport>& layers);

// What a user who asked for 4 bits should know.
std::vector<std::string> FourBitWarnings(const std::vector<LayerReport>& layers,
                                         const QuantizeOptions& options, bool calibrated);

// What was not done since there are statistics instead of samples; empty: nothing is missing.
std::string LeftOutWithoutSamples(const QuantizeReport& report, const QuantizeOptions& options);

// Why a layer is not one of those that 4 bits are for, unless it is asked for by name: in networks
// with convolutions they are for matrix products and 1x1 convolutions of at least 256 inputs.
// Empty if it is.
std::string WhyNotFourBits(const graph::Graph& graph, graph::NodeId layer);

}  // namespace octet::runtime
