#include "server/engine/plan_report.h"

#include "base/status.h"
#include "runtime/plan.h"
#include "runtime/quantize_report.h"

namespace octet::server {

absl::Status AddKernels(runtime::PreparedModel& model) {
  if (!model.quantization) return absl::OkStatus();
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                         runtime::MakePlan(model.graph, model.example_shapes, *model.weights));
  runtime::FillKernels(plan->program, *model.quantization);
  return absl::OkStatus();
}

}  // namespace octet::server
