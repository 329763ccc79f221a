// AxisGather as a step of a plan, in the layout the input lies in.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/lowering.h"

namespace octet::kernels {

// Output 0 is input 0 gathered by one list for each axis, see AxisGather. `fill` is the buffer of
// the element for AxisGather::kFill, if the lists have any. Codes of quantized inputs move
// unchanged. Always lowers.
absl::StatusOr<bool> LowerAxisGather(LoweringContext& context,
                                     const std::vector<std::vector<int64_t>>& axes,
                                     std::optional<int> fill = std::nullopt);

}  // namespace octet::kernels
