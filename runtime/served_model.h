// CompiledModel and ExecutionContext over ModelPlans. Internal to runtime.

#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "runtime/compiled_model.h"
#include "runtime/model_plans.h"
#include "runtime/rows_per_run.h"

namespace octet::runtime {

// Bytes that contexts hold, counted as they grow.
struct ContextBytes {
  std::atomic<size_t> arena{0};
  std::atomic<size_t> scratchpad{0};
};

struct ServedModelParts {
  std::vector<TensorSpec> inputs, outputs;
  bool batchable = false;
  std::vector<int64_t> batch_sizes = {1};
  int threads = 1;
  RowsPerRun rows_per_run;
  size_t float32_weight_bytes = 0;
  std::unique_ptr<ModelPlans> plans;
  ModelSummary summary;
};

std::shared_ptr<const CompiledModel> MakeServedModel(ServedModelParts parts);

}  // namespace octet::runtime
