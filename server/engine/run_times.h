// How long runs of a plan take.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "runtime/plan.h"

namespace octet::server {

// Seconds of each run, ascending: of at least ten runs and `seconds`. Errors are those of running.
absl::StatusOr<std::vector<double>> MeasureRuns(runtime::PlanRunner& runner,
                                                const std::vector<Tensor>& inputs, double seconds);

}  // namespace octet::server
