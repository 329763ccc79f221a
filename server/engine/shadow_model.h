// A served model whose answers are compared, for a share of the requests, with those of its float32
// original: does production look like the data that the model was judged on?

#pragma once

#include <memory>

#include "runtime/compiled_model.h"

namespace octet::server {

// Behaves as `served`. Of the requests that it runs, about `sample_rate` (0 to 1) are copied and
// run by `float32` too, one at a time on a background thread of low priority, after they have been
// answered or while they are; what comes while it is busy is passed over. CompiledModel::shadow()
// has the results. `float32` has the same inputs and outputs, or the result is `served` itself;
// behind its outputs may be those that watch the ranges of `served` (runtime/served_ranges.h).
std::shared_ptr<const runtime::CompiledModel> WithShadow(
    std::shared_ptr<const runtime::CompiledModel> served,
    std::shared_ptr<const runtime::CompiledModel> float32, double sample_rate);

}  // namespace octet::server
