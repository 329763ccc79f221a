// Where oneDNN's exceptions end.

#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace octet::kernels {

// Calls `function`; a dnnl::error becomes Unimplemented (no such primitive), ResourceExhausted (out
// of memory) or Internal, with `context` in front. std::bad_alloc is ResourceExhausted.
absl::Status CatchDnnl(absl::string_view context, absl::FunctionRef<absl::Status()> function);

}  // namespace octet::kernels
