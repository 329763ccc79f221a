#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/cpu.h"
#include "runtime/plan.h"
#include "server/commands/bench.h"
#include "server/engine/example_inputs.h"
#include "server/engine/load_options.h"
#include "server/engine/run_times.h"

namespace octet::server {

absl::Status Bench(const BenchOptions& options, Console& console) {
  OCTET_ASSIGN_OR_RETURN(
      const runtime::PreparedModel model,
      runtime::PrepareModel(options.model.path,
                            ToLoadOptions(options.model.settings, options.threads)));
  OCTET_ASSIGN_OR_RETURN(std::vector<Shape> shapes, ShapesFor(model, options.shapes));
  if (model.batchable) shapes = graph::WithFirstDim(shapes, options.batch);
  if (!model.batchable && options.batch != 1) {
    return absl::InvalidArgumentError("--batch: the model does not batch");
  }
  kernels::PrepareThread(options.threads);
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                         runtime::MakePlan(model.graph, shapes, weights));
  OCTET_ASSIGN_OR_RETURN(runtime::PlanRunner runner, runtime::PlanRunner::Create(plan));
  const std::vector<Tensor> inputs = ExampleInputs(model, shapes);
  OCTET_RETURN_IF_ERROR(MeasureRuns(runner, inputs, options.seconds / 5).status());  // warm up
  OCTET_ASSIGN_OR_RETURN(const std::vector<double> runs,
                         MeasureRuns(runner, inputs, options.seconds));
  const double median = runs[runs.size() / 2];
  console.out << absl::StrFormat(
      "runs %d  batch %d  threads %d\n"
      "ms per run: p50 %.4f  p99 %.4f  min %.4f\n"
      "items/s %.1f\n",
      runs.size(), options.batch, options.threads, median * 1e3, runs[runs.size() * 99 / 100] * 1e3,
      runs.front() * 1e3, options.batch / median);
  return absl::OkStatus();
}

}  // namespace octet::server
