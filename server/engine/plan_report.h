// Completes a quantization report with what was compiled.

#pragma once

#include "absl/status/status.h"
#include "runtime/load.h"

namespace octet::server {

// Compiles the model for its example shapes and notes each layer's kernel. Does nothing for a model
// that was not quantized.
absl::Status AddKernels(runtime::PreparedModel& model);

}  // namespace octet::server
