// Samples that nobody has sent: for networks that read tokens.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "runtime/calibration_data.h"

namespace octet::runtime {

struct SyntheticOptions {
  size_t samples = 128;
  uint64_t seed = 0;
  bool allow_noise = false;  // for inputs that are no tokens
};

// Sequences of uniformly random token numbers, from the rows of the table that the input is looked
// up in (Gather). Inputs that are looked up in a table of few rows (kinds of tokens) are 0, those
// that count the tokens' places do, and integers that are looked up nowhere (masks) are 1. The
// lengths of sequences differ; the same seed gives the same samples. `example_shapes` are the sizes
// of dimensions that are not symbolic.
//   FailedPrecondition  an input is of floating point, and noise is not allowed: it says nothing
//                       about the ranges of images (Q010) or of other measurements
absl::StatusOr<CalibrationData> SyntheticSamples(const graph::Graph& graph,
                                                 const std::vector<Shape>& example_shapes,
                                                 const SyntheticOptions& options);

}  // namespace octet::runtime
