// Bias correction on a graph: takes the mean error that a layer's quantization causes out of its
// bias, which costs nothing at run time (quant/bias_correction.h).

#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/rewrite.h"
#include "runtime/evaluate.h"

namespace octet::runtime {

struct BiasCorrections {
  // Ordered: the quantized graph has to be the same each time it is made.
  std::map<graph::NodeId, Tensor> biases;
  std::set<graph::NodeId> four_bits;  // of these, those that are for 4-bit weights
  std::vector<std::string> rejected;  // layers whose correction would outweigh the bias
};

// What each layer of `selection` that is not float32 errs by on its inputs in the float network,
// averaged over the samples: of its weights, and with static ranges of its input's codes. Layers
// whose bias is computed by the graph are left alone. Exact up to the padding of convolutions.
// Errors are those of running the graph; FailedPrecondition without samples.
absl::StatusOr<BiasCorrections> CorrectBiases(const graph::Graph& graph,
                                              const quant::Selection& selection,
                                              const std::vector<quant::ValueQuantizer>& quantizers,
                                              const quant::WeightsById& weights, Samples samples,
                                              Resources resources);

// Gives the layers of a graph that quant::Rewrite() has made these biases, those that `selection`
// has in float32 excepted, or with weights of other bits than they were corrected for.
void ApplyBiases(const BiasCorrections& corrections, const quant::Selection& selection,
                 graph::Graph& quantized);

}  // namespace octet::runtime
