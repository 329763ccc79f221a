// Which of oneDNN's implementations are too slow to serve with.

#pragma once

#include "absl/strings/string_view.h"
#include "kernels/program.h"

namespace octet::kernels {

// oneDNN falls back to generic loops, a hundred times slower, for combinations it has no fast
// kernel for, and says so only in the implementation's name. On CPUs with VNNI `gemm:jit` counts
// too when it computes in int8: the kernels made for VNNI have other names.
bool IsReferenceImplementation(absl::string_view implementation, bool int8);
bool IsReferenceImplementation(const Step& step);

}  // namespace octet::kernels
