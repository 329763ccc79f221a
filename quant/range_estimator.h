// Choosing a quantizer: the range of a uniform grid, for weights and activations, or for weights
// also a table of levels. Every file of observers/ is one way to do it and adds itself.

#pragma once

#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/cells.h"
#include "quant/codebook.h"
#include "quant/distribution.h"

namespace octet::quant {

struct EstimatorOptions {
  double percentile = 99.99;  // above 50, at most 100
  int max_iterations = 10;    // of least squares, per starting point
  double tolerance = 1e-6;    // relative gain below which least squares stops
  // One more range to start from; least squares then is no worse than it.
  std::optional<Range> inherited;
  // Exponents of histogram equalization, above 0 and at most 1: of ranges and of codebooks.
  double gamma = 0.5;
  double codebook_gamma = 1.0 / 3;
  size_t bins = 0;             // of its histogram; 0: by the number of values
  bool balanced_tree = false;  // decision tree: level by level instead of the best leaf first
};

struct RangeEstimate {
  Range range;  // contains zero
  // Too few values for this estimator: the range is min_max's.
  bool fell_back = false;
};

// Thread-safe and deterministic on one machine.
struct RangeEstimator {
  absl::string_view name;
  absl::string_view summary;
  absl::StatusOr<RangeEstimate> (*estimate)(const Distribution& values, const Grid& grid,
                                            const EstimatorOptions& options);
  // At most `levels` levels for more cells (ascending, of distinct means) than that. Null if the
  // algorithm has no such form. Called through FitCodebook().
  absl::StatusOr<Codebook> (*fit_codebook)(std::span<const Cell> cells, size_t levels,
                                           const EstimatorOptions& options) = nullptr;
};

// All of them, in alphabetical order.
std::span<const RangeEstimator> RangeEstimators();

// NotFound if there is none; the message lists the names.
absl::StatusOr<RangeEstimator> FindRangeEstimator(absl::string_view name);

// The whole range of the values, widened to contain zero.
Range MinMaxRange(const Distribution& values);

}  // namespace octet::quant
