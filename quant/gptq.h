// Quantization with error feedback: column by column, what rounding one weight has cost is taken
// back by the weights that are still to be rounded, as far as the layer's inputs let them stand in
// for it (Frantar et al., "GPTQ", 2022).

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/group_quantizer.h"
#include "quant/hessian.h"
#include "quant/weight_rows.h"

namespace octet::quant {

struct GptqOptions {
  GroupOptions groups;
  double damping = 0.01;  // times the mean of the Hessian's diagonal, added to it; at least 0
};

struct GptqResult {
  GroupedCodes codes;
  // The share that was used: ten times as much for every attempt that was not positive definite.
  double damping = 0;
  // No damping helped: the codes are QuantizeGroups'.
  bool fell_back = false;
};

// Each group's quantizer is chosen when its first column is reached, for the weights as feedback
// has changed them by then. Takes time rows x columns^2 / 2 + columns^3 / 6. Deterministic on one
// machine; thread-safe. InvalidArgument for what QuantizeGroups() refuses, a Hessian of another
// size, and a damping that is negative or not finite.
absl::StatusOr<GptqResult> QuantizeGptq(const WeightRows& weights, const Hessian& hessian,
                                        const GptqOptions& options);

// The same where the quantizers are there already: 8-bit codes of `weights` under one scale for
// each row, or one for all. Nothing if no damping makes the Hessian positive definite.
// InvalidArgument for weights that CheckRows() refuses, another number of scales, scales that are
// not positive, a Hessian of another size, and a damping that is negative or not finite.
absl::StatusOr<std::optional<std::vector<int8_t>>> RoundWithFeedback(const WeightRows& weights,
                                                                     std::span<const float> scales,
                                                                     const Grid& grid,
                                                                     const Hessian& hessian,
                                                                     double damping);

// The squared error of the layer's outputs on the inputs of the Hessian,
// trace((W - V) H (W - V)^T), where V are the weights as quantized, row by row.
double OutputError(const WeightRows& weights, std::span<const float> quantized,
                   const Hessian& hessian);

}  // namespace octet::quant
