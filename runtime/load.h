// From a model file to a CompiledModel: import, optimise, calibrate, quantize, compile, warm up.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/compiled_model.h"

namespace octet::runtime {

struct LoadOptions {
  // Batch sizes to compile at load: 1, 2, 4, ... up to this; larger requests are refused by the
  // batcher. Ignored by models that do not batch.
  int64_t max_batch_size = 32;
  int threads = 1;  // per execution context
  // Called from the loading thread as stages begin; `detail` is for people.
  std::function<void(absl::string_view stage, const std::string& detail)> progress;
};

// Errors are those of import (graph/onnx/import.h) and lowering (kernels/lowering.h), with the
// path in front.
absl::StatusOr<std::shared_ptr<const CompiledModel>> LoadModel(const std::string& path,
                                                               const LoadOptions& options);

}  // namespace octet::runtime
