#include "kernels/dispatch_gate.h"

#include "absl/strings/match.h"
#include "kernels/cpu.h"

namespace octet::kernels {

bool IsReferenceImplementation(absl::string_view implementation, bool int8) {
  if (absl::StartsWith(implementation, "ref") || absl::StrContains(implementation, ":ref") ||
      absl::StrContains(implementation, "_ref")) {
    return true;
  }
  return int8 && absl::StartsWith(implementation, "gemm:jit") && HasVnni();
}

bool IsReferenceImplementation(const Step& step) {
  return IsReferenceImplementation(step.kernel->implementation(), step.int8);
}

}  // namespace octet::kernels
