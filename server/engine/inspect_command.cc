#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/plan.h"
#include "server/commands/inspect.h"
#include "server/engine/example_inputs.h"
#include "server/engine/load_options.h"

namespace octet::server {
namespace {

constexpr int kTimedRuns = 10;

struct Row {
  const kernels::Step* step;
  double microseconds;
  size_t bytes;
};

std::vector<Row> Rows(const runtime::Plan& plan, const std::vector<std::vector<int64_t>>& runs) {
  std::vector<Row> rows;
  for (size_t s = 0; s < plan.program.steps.size(); ++s) {
    const kernels::Step& step = plan.program.steps[s];
    std::vector<int64_t> times;
    times.reserve(runs.size());
    for (const auto& run : runs) times.push_back(run[s]);
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    size_t bytes = 0;
    for (const int buffer : step.outputs) {
      if (buffer >= 0) bytes += plan.program.buffers[static_cast<size_t>(buffer)].bytes;
    }
    rows.push_back({&step, static_cast<double>(times[times.size() / 2]) / 1000, bytes});
  }
  return rows;
}

void Print(const runtime::Plan& plan, const std::vector<Row>& rows, size_t weight_bytes,
           Console& console) {
  double total = 0;
  int64_t macs = 0, int8_macs = 0;
  console.out << absl::StrFormat("%9s  %-40s %-20s %-34s %-13s %12s %10s\n", "us", "node",
                                 "operator", "kernel", "layout", "MACs", "bytes out");
  for (const Row& row : rows) {
    const kernels::Step& step = *row.step;
    console.out << absl::StrFormat(
        "%9.1f  %-40.40s %-20s %-34s %-13s %12d %10d\n", row.microseconds, step.node, step.op,
        step.kernel->implementation(), step.layout, step.macs, row.bytes);
    total += row.microseconds;
    macs += step.macs;
    if (step.int8) int8_macs += step.macs;
  }
  console.out << absl::StrFormat(
      "\ntime            %.1f us, median of %d runs, one thread\n"
      "steps           %d\n"
      "MACs            %d, %.1f %% in int8\n"
      "weights         %d bytes packed\n"
      "arena           %d bytes (%d without reuse)\n"
      "scratchpad      %d bytes\n",
      total, kTimedRuns, rows.size(), macs,
      macs == 0 ? 0.0 : 100.0 * static_cast<double>(int8_macs) / static_cast<double>(macs),
      weight_bytes, plan.memory.arena_bytes, plan.memory.naive_bytes, plan.program.scratch_bytes);
}

}  // namespace

absl::Status Inspect(const InspectOptions& options, Console& console) {
  OCTET_ASSIGN_OR_RETURN(
      const runtime::PreparedModel model,
      runtime::PrepareModel(options.model.path, ToLoadOptions(options.model.settings, 1)));
  OCTET_ASSIGN_OR_RETURN(const std::vector<Shape> shapes, ShapesFor(model, options.shapes));
  for (size_t i = 0; i < shapes.size(); ++i) {
    console.out << absl::StrFormat("input   %-32s %-6s %s, measured with %s\n",
                                   model.inputs[i].name, Name(model.inputs[i].dtype),
                                   ToText(model.inputs[i].shape), ToText(shapes[i]));
  }
  for (const runtime::TensorSpec& output : model.outputs) {
    console.out << absl::StrFormat("output  %-32s %-6s %s\n", output.name, Name(output.dtype),
                                   ToText(output.shape));
  }
  console.out << (model.batchable ? "batches\n\n" : "does not batch\n\n");
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                         runtime::MakePlan(model.graph, shapes, weights));
  OCTET_ASSIGN_OR_RETURN(runtime::PlanRunner runner, runtime::PlanRunner::Create(plan));
  const std::vector<Tensor> inputs = ExampleInputs(model, shapes);
  OCTET_RETURN_IF_ERROR(runner.Run(inputs).status());  // warm up
  std::vector<std::vector<int64_t>> runs;
  for (int run = 0; run < kTimedRuns; ++run) {
    OCTET_RETURN_IF_ERROR(runner.Load(inputs));
    OCTET_ASSIGN_OR_RETURN(std::vector<int64_t> times, runner.bound().TimedRun());
    runs.push_back(std::move(times));
  }
  Print(*plan, Rows(*plan, runs), weights.bytes(), console);
  return absl::OkStatus();
}

}  // namespace octet::server
