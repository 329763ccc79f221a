// A non-uniform quantizer for weights: a table of levels, and the thresholds between them.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/cells.h"

namespace octet::quant {

struct EstimatorOptions;

struct Codebook {
  std::vector<float> levels;      // strictly ascending, at least one
  std::vector<float> thresholds;  // one between every two levels, ascending

  bool operator==(const Codebook&) const = default;
};

// The codebook with these levels (ascending; equal ones are joined) that gives every value the
// level nearest to it.
Codebook NearestLevels(std::span<const double> levels);

// Fits 2^bits levels (1 to 8 bits), or fewer if there are fewer distinct values: then every value
// is a level. `algorithm` names a range estimator that has a codebook form. `weights`, empty or one
// per value, say how much an error at the value counts. Deterministic; thread-safe.
//   NotFound            there is no such algorithm
//   FailedPrecondition  no values, or none that counts
//   InvalidArgument     NaN, infinity or a negative weight, a wrong number of weights or bits, or
//                       an algorithm that has no codebook form
absl::StatusOr<Codebook> FitCodebook(absl::string_view algorithm, std::span<const float> values,
                                     std::span<const float> weights, int bits,
                                     const EstimatorOptions& options);

// Codes index the levels. Spans are equally long.
void Encode(std::span<const float> values, const Codebook& codebook, std::span<uint8_t> codes);
void Decode(std::span<const uint8_t> codes, const Codebook& codebook, std::span<float> values);

// The weighted sum of squared errors of cells under a codebook; a cell goes where its mean goes.
double SquaredError(std::span<const Cell> cells, const Codebook& codebook);

}  // namespace octet::quant
