#include "kernels/dnnl_status.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

absl::Status CatchDnnl(absl::string_view context, absl::FunctionRef<absl::Status()> function) {
  try {
    return Annotate(function(), context);
  } catch (const dnnl::error& error) {
    const std::string text = absl::StrCat(context, ": oneDNN: ", error.what());
    if (error.status == dnnl_unimplemented) return absl::UnimplementedError(text);
    if (error.status == dnnl_out_of_memory) return absl::ResourceExhaustedError(text);
    return absl::InternalError(text);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(context, ": out of memory"));
  }
}

}  // namespace octet::kernels
