// Collects LayerDetails from what quantization has at hand. Takes about as long as quantizing the
// weights twelve times: for reports, not for serving.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/rewrite.h"
#include "quant/selection.h"
#include "runtime/activation_ranges.h"
#include "runtime/layer_details.h"
#include "runtime/layer_weights.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Borrowed.
struct DetailsSource {
  const graph::Graph& graph;              // before quantization
  std::span<const graph::NodeId> layers;  // as in QuantizeReport::layers
  const QuantizeReport& report;           // with what is served
  const LayerWeights& weights;
  ActivationRanges& ranges;  // nothing observed: no activations
  const QuantizeOptions& options;
};

// One entry for each layer. Errors are those of choosing ranges.
absl::StatusOr<std::vector<LayerDetails>> CollectDetails(const DetailsSource& source);

// Of all values, the share beyond `range` by more than half a step of `grid` (as far as bins can
// tell).
double ClippedShare(const quant::Histogram& histogram, quant::Range range, const quant::Grid& grid);

FoldedHistogram Fold(const quant::Histogram& histogram);
FoldedHistogram HistogramOf(std::span<const float> values);

}  // namespace octet::runtime
