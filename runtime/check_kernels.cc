#include "runtime/check_kernels.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"

namespace octet::runtime {

absl::StatusOr<std::vector<KernelMismatch>> CheckKernels(PreparedModel& model,
                                                         const LoadOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.progress) {
    options.progress("check kernels", "int8 layers against exact integers");
  }
  std::vector<std::vector<Shape>> shapes = {model.example_shapes};
  if (model.batchable && options.max_batch_size > 1) {
    shapes.insert(shapes.begin(),
                  graph::WithFirstDim(model.example_shapes, options.max_batch_size));
  }
  std::vector<KernelMismatch> mismatches;
  int checked = 0;
  for (const std::vector<Shape>& shape : shapes) {
    OCTET_ASSIGN_OR_RETURN(SelfCheckResult result,
                           CheckInt8Layers(model.graph, shape, *model.weights));
    checked += result.checked;
    for (KernelMismatch& mismatch : result.mismatches) {
      const bool known = std::any_of(mismatches.begin(), mismatches.end(), [&](const auto& other) {
        return other.node == mismatch.node;
      });
      if (!known) mismatches.push_back(std::move(mismatch));
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (model.quantization) {
    model.quantization->checked_layers += checked;
    model.quantization->self_check_seconds += seconds.count();
  }
  return mismatches;
}

std::string Describe(const KernelMismatch& mismatch, absl::string_view consequence) {
  return absl::StrCat("kernel_mismatch: layer ", mismatch.node, ": ", mismatch.kernel, ": ",
                      mismatch.detail, "; ", consequence);
}

}  // namespace octet::runtime
