// The order of the passes. Order is meaning, so it is written by hand, each with its reason.

#include <array>

#include "graph/pass.h"
#include "graph/passes/passes.h"

namespace octet::graph {

std::span<const Pass> ExpansionPipeline() { return FloatPipeline().first(1); }

std::span<const Pass> FloatPipeline() {
  static constexpr auto kPasses = std::to_array<Pass>({
      // Before all others: what it puts in has patterns and constants for them.
      {"expand_fusions", ExpandFusions},
      // Models that come quantized, in one form; before their weights are folded to floats.
      {"expand_integer_products", ExpandIntegerProducts},
      {"read_quantized_weights", ReadQuantizedWeights},
      // Early: later patterns match constants, not the nodes that compute them.
      {"fold_constants", FoldConstants},
      {"remove_identity", RemoveIdentity},
      // Before calibration, so that ranges are those of the weights that will be quantized.
      {"fold_batch_norm", FoldBatchNorm},
      // After batch norm: what it left as an addition is a bias too.
      {"fold_bias", FoldBias},
      // Late: it hides operators inside others, where no pattern finds them.
      {"fuse_elementwise", FuseElementwise},
      // Last: quantizers go around what was fused.
      {"absorb_quantization", AbsorbQuantization},
  });
  return kPasses;
}

}  // namespace octet::graph
