// Fast bias correction: quantization moves the mean of a layer's outputs, and the bias can take
// that back for free (Nagel et al., "Data-Free Quantization", 2019). Pure functions: thread-safe.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/weight_rows.h"

namespace octet::quant {

struct BiasCorrectionInputs {
  // The weights and what they became, row by row.
  const WeightRows& weights;
  std::span<const float> quantized;
  // The mean of every input channel in the float network and in the quantized one.
  std::span<const float> mean;
  std::span<const float> quantized_mean;
  std::span<const float> bias;  // one per row, or empty: all 0
  // Of a convolution: rows are in this many groups with input channels of their own, and a row's
  // columns are `positions` per input channel (kernel height x width). Exact but for padding.
  int64_t groups = 1;
  int64_t positions = 1;
};

struct BiasCorrection {
  std::vector<float> bias;  // corrected
  // max |change| / (|bias| + mean |bias|) over rows; 0 if there is no bias to compare with.
  double largest_ratio = 0;

  // A correction that outweighs what it corrects rests on means that cannot be trusted.
  static constexpr double kHighestRatio = 2;
  bool trusted() const { return largest_ratio <= kHighestRatio; }
};

// b + E[W x] - E[V y] where V are the quantized weights and y the quantized network's inputs.
// InvalidArgument if sizes do not fit or a number is not finite.
absl::StatusOr<BiasCorrection> CorrectBias(const BiasCorrectionInputs& inputs);

}  // namespace octet::quant
