// How many rows of a batch one run of the network takes. More rows use the weights they load more
// often; fewer keep the activations in the caches. Which of both counts depends on the network, the
// element type and the processor, so it is measured.

#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "runtime/compiled_model.h"
#include "runtime/model_plans.h"

namespace octet::runtime {

class RowsPerRun {
 public:
  // A batch runs whole, whatever its size.
  RowsPerRun() = default;
  // `rows` of inputs like those of `example_shapes`, of inputs twice as large half as many; 0: all.
  RowsPerRun(int64_t rows, std::span<const Shape> example_shapes);

  // For inputs of these shapes, whose first dimension is ignored; 0: all.
  int64_t For(std::span<const Shape> shapes) const;

 private:
  int64_t rows_ = 0;
  double row_elements_ = 0;
};

// How a batch runs: `runs` times a plan for `rows` rows that takes up to `max_runs` runs. The last
// rows of the last run may be padding.
struct BatchRuns {
  int64_t rows = 1;
  int64_t runs = 1;
  int64_t max_runs = 1;
};

// `rows_per_run` is 0 for all; `batch_sizes` are those compiled at load, ascending. A batch of no
// more rows than one run takes is padded to the next of them.
BatchRuns SplitBatch(int64_t rows, int64_t rows_per_run, std::span<const int64_t> batch_sizes);

// Times runs of 1, 2, 4, ... rows up to `max_rows` on the calling thread, as long as more rows make
// a row faster and at most for about a second, and returns the fastest; 0 if the network cannot run
// the rows of a batch one after the other, or not on zeros. Errors are those of compiling.
absl::StatusOr<int64_t> MeasureRowsPerRun(ModelPlans& plans, std::span<const Shape> example_shapes,
                                          int64_t max_rows);

}  // namespace octet::runtime
