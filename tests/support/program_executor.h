// Runs a lowered program in the plainest way: every buffer has memory of its own.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "kernels/program.h"

namespace octet::testing {

// Inputs in the engine's types, of the program's shapes. InvalidArgument otherwise.
absl::StatusOr<std::vector<Tensor>> RunProgram(const kernels::Program& program,
                                               const std::vector<Tensor>& inputs);

}  // namespace octet::testing
