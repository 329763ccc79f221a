// Weights with one affine quantizer for each group of neighbours in a row. Groups are for storage:
// no integer kernel computes with them, so they are expanded to one scale per row before use
// (storage.h).

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/affine.h"
#include "quant/range_estimator.h"
#include "quant/weight_rows.h"

namespace octet::quant {

struct GroupOptions {
  Grid grid = kAsymmetricUint4;
  // Columns per group, the last of a row may be shorter; 0: the whole row is one.
  int64_t group = 128;
  absl::string_view estimator = "least_squares";
  EstimatorOptions estimator_options;
};

struct GroupedCodes {
  Grid grid = kAsymmetricUint4;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t group = 0;  // columns per group, from 1 to columns
  // Scales are float16 numbers times 2^exponent, so that they are stored in 16 bits.
  int exponent = 0;
  std::vector<int16_t> codes;      // row by row
  std::vector<Affine> quantizers;  // row by row, groups_per_row() each

  int64_t groups_per_row() const { return (columns + group - 1) / group; }
  const Affine& QuantizerOf(int64_t row, int64_t column) const {
    return quantizers[static_cast<size_t>(row * groups_per_row() + column / group)];
  }
};

// The exponent for GroupedCodes of a matrix whose largest weight is `largest`.
int ScaleExponent(float largest);

// `affine` with its scale rounded to what GroupedCodes can hold.
Affine WithStorableScale(Affine affine, int exponent);

// The quantizer for some values of a matrix with `exponent`. All-zero values get scale 2^exponent.
// `importance` is as in Distribution::Of().
absl::StatusOr<Affine> ChooseQuantizer(std::span<const float> values, const Grid& grid,
                                       const RangeEstimator& estimator,
                                       const EstimatorOptions& options, int exponent,
                                       std::span<const float> importance = {});

// clamp(round(value / scale) + zero_point).
int32_t CodeOf(float value, Affine affine, const Grid& grid);
inline float ValueOf(int32_t code, Affine affine) {
  return affine.scale * static_cast<float>(code - affine.zero_point);
}

// Deterministic; thread-safe. InvalidArgument for weights that CheckRows() refuses, and a negative
// group; NotFound for an unknown estimator.
absl::StatusOr<GroupedCodes> QuantizeGroups(const WeightRows& weights, const GroupOptions& options);

std::vector<float> Dequantize(const GroupedCodes& codes);

}  // namespace octet::quant
