// What follows from the accuracy that a quantized network was measured to have.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/tensor.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// Judges the accuracy in `report` and does what options.on_fail says of a target that is missed: of
// kFloat, all layers become float32. `estimated`: what was measured proves nothing. `may_move`:
// layers were given more precision where it helped. `exact` are the float network's outputs, and
// `labels` theirs, or none. FailedPrecondition if the target is missed and on_fail is kError.
absl::Status GiveVerdict(const QuantizeOptions& options, bool estimated, bool may_move,
                         const std::vector<std::vector<Tensor>>& exact,
                         std::span<const int64_t> labels, QuantizeReport& report);

}  // namespace octet::runtime
