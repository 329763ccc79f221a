#include "server/engine/plan_report.h"

#include "base/status.h"
#include "runtime/plan.h"

namespace octet::server {

absl::Status AddKernels(runtime::PreparedModel& model) {
  if (!model.quantization) return absl::OkStatus();
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                         runtime::MakePlan(model.graph, model.example_shapes, weights));
  for (runtime::LayerReport& layer : model.quantization->layers) {
    for (const kernels::Step& step : plan->program.steps) {
      if (step.node == layer.node && step.macs > 0) layer.kernel = step.kernel->implementation();
    }
  }
  return absl::OkStatus();
}

}  // namespace octet::server
