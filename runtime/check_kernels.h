// The self-check of a model that is being loaded.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/load.h"
#include "runtime/self_check.h"

namespace octet::runtime {

// Proves the int8 kernels for the largest batch, which has most to go wrong in, and for one row,
// which is what a lone request runs. Packs weights into model.weights; adds to the report what it
// took. Errors are CheckInt8Layers()'.
absl::StatusOr<std::vector<KernelMismatch>> CheckKernels(PreparedModel& model,
                                                         const LoadOptions& options);

// The warning, with what follows.
std::string Describe(const KernelMismatch& mismatch, absl::string_view consequence);

}  // namespace octet::runtime
