// Weights as 8-bit integers, once per load: one scale per output channel or one for the tensor.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/types.h"
#include "quant/affine.h"
#include "quant/range_estimator.h"

namespace octet::quant {

struct WeightOptions {
  absl::string_view estimator = "least_squares";
  // kSymmetricInt8, or kSymmetricInt7 where 8-bit products saturate.
  Grid grid = kSymmetricInt8;
  // The dimension of the output channels; none: one scale for the whole tensor.
  std::optional<int> axis;
  // With an axis: one scale for the whole tensor all the same, where a scale per channel would gain
  // less than this many dB of SQNR.
  std::optional<double> least_channel_gain_db;
  EstimatorOptions estimator_options;
  // How much an error in each weight counts, in the order of the tensor; empty: all the same. What
  // is told of the result, its SQNR, is without. Outlives the call.
  std::span<const float> importance;
  // Treats NaN and infinities as zero instead of refusing the tensor.
  bool zero_non_finite = false;
};

struct QuantizedWeights {
  Tensor codes;               // int8, shaped as the weights
  graph::QuantParams params;  // zero points are 0
  double sqnr_db = 0;         // of the whole tensor
  // What a scale per channel gains; only with least_channel_gain_db.
  std::optional<double> channel_gain_db;
  std::vector<float> channel_sqnr_db;  // one per scale
  // Channels that are all zero, or so small beside the largest weight (2^-20) that their scale was
  // raised to keep the scales within reason.
  std::vector<int64_t> dead_channels;
  // Channels with too few values for the estimator, which got min_max's range.
  int64_t fallback_channels = 0;
  int64_t zeroed_values = 0;  // by zero_non_finite
  bool feedback = false;      // rounded with error feedback (gptq.h) afterwards
};

// Quantizes a float32 tensor of any rank. Thread-safe and single-threaded: different tensors may be
// quantized on different threads. The result is deterministic. InvalidArgument for another type or
// grid, an axis outside the shape, an empty tensor, and NaN or infinity (the message has the
// index); NotFound for an unknown estimator. With least_squares no channel's squared error is
// larger than under the scale that least_squares finds for the whole tensor.
absl::StatusOr<QuantizedWeights> QuantizeWeights(const ConstTensorView& weights,
                                                 const WeightOptions& options);

}  // namespace octet::quant
