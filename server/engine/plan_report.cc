#include "server/engine/plan_report.h"

#include "base/status.h"
#include "runtime/plan.h"

namespace octet::server {

absl::StatusOr<runtime::ReportContext::Memory> AddKernels(runtime::PreparedModel& model) {
  // The self-check has packed weights for other batches as well.
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                         runtime::MakePlan(model.graph, model.example_shapes, weights));
  if (model.quantization) runtime::FillKernels(plan->program, *model.quantization);
  return runtime::ReportContext::Memory{.packed_weight_bytes = weights.bytes(),
                                        .arena_bytes = plan->memory.arena_bytes,
                                        .naive_bytes = plan->memory.naive_bytes,
                                        .scratchpad_bytes = plan->program.scratch_bytes};
}

}  // namespace octet::server
