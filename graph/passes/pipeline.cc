// The order of the passes. Order is meaning, so it is written by hand, each with its reason.

#include <array>
#include <vector>

#include "graph/passes/passes.h"
#include "graph/passes/strip_quantization.h"
#include "graph/pipeline.h"

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
      // Before the patterns: they look for values that meet again, not for equal ones.
      {"common_subexpressions", MergeCommonSubexpressions},
      {"merge_reshapes", MergeReshapes},
      // Before the folding passes: a Transpose hides a node from its neighbour.
      {"simplify_transposes", SimplifyTransposes},
      // The constants that were permuted.
      {"fold_constants_again", FoldConstants},
      // While their parts are whole: later passes merge and fold the factors and additions at
      // their edges.
      {"fuse_clips", FuseClips},
      {"fuse_layer_normalization", FuseLayerNormalization},
      {"fuse_activation_patterns", FuseActivationPatterns},
      {"simplify_arithmetic", SimplifyArithmetic},
      // What is folded is folded before calibration, so that ranges are those of the weights that
      // will be quantized.
      {"fold_pad", FoldPad},
      // A bias may stand before a batch norm or a factor, and be what they leave behind them.
      {"fold_bias", FoldBias},
      {"fold_batch_norm", FoldBatchNorm},
      {"fold_scale", FoldScale},
      {"fold_bias_again", FoldBias},
      // Late: it hides operators inside others, where no pattern finds them.
      {"fuse_elementwise", FuseElementwise},
      // Last: quantizers go around what was fused.
      {"absorb_quantization", AbsorbQuantization},
  });
  return kPasses;
}

std::vector<Pass> FloatPipeline(const PipelineOptions& options) {
  std::vector<Pass> passes;
  for (const Pass& pass : FloatPipeline()) {
    if (pass.run == FoldBatchNorm && !options.fold_batch_norm) continue;
    // While weights are codes behind a node, which folding makes floats of.
    if (pass.run == ReadQuantizedWeights && options.strip_quantization) {
      passes.push_back({"strip_quantization", StripQuantization});
    }
    passes.push_back(pass);
  }
  return passes;
}

}  // namespace octet::graph
