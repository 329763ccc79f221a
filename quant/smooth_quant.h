// Moving the difficulty of activations into weights: X W = (X / s) (s W), with s per input channel
// so that outliers of X shrink (Xiao et al., "SmoothQuant", 2022). Pure functions: thread-safe.

#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/weight_rows.h"

namespace octet::quant {

// s_j = activation_j^alpha / weight_j^(1 - alpha), from the largest magnitudes of input channel j
// in the activations and in the weights of all layers that read them; within 1e-5 to 1e5. 1 where
// either is 0. InvalidArgument for spans of different lengths, alpha outside 0 to 1, and magnitudes
// that are negative or not finite.
absl::StatusOr<std::vector<float>> SmoothingFactors(std::span<const float> activation_magnitudes,
                                                    std::span<const float> weight_magnitudes,
                                                    double alpha);

// The largest magnitude of every column. Of several layers that share their input the larger one
// counts: call WidenMagnitudes() for each.
std::vector<float> ColumnMagnitudes(const WeightRows& weights);
absl::Status WidenMagnitudes(std::span<const float> other, std::span<float> magnitudes);

// Column j times factors[j]. InvalidArgument for another number of factors than columns.
absl::Status ScaleColumns(std::span<const float> factors, WeightRows& weights);

}  // namespace octet::quant
