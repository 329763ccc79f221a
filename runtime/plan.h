// A program with its memory plan, and the context that runs it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/memory.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "kernels/lowering.h"
#include "kernels/program.h"
#include "kernels/weight_cache.h"
#include "runtime/memory_plan.h"

namespace octet::runtime {

// Immutable, shared by contexts.
struct Plan {
  kernels::Program program;
  MemoryPlan memory;
  // A batch may take several runs of the program, one after the other, over rows side by side.
  int64_t max_runs = 1;
};

// `graph` may have symbolic dimensions; the plan is for these input shapes. With `max_runs` above
// one the first dimension of every input and output must be the batch's. Outputs from `first_early`
// on are early, which goes with one run only.
absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const graph::Graph& graph,
                                                     std::span<const Shape> input_shapes,
                                                     kernels::WeightCache& weights,
                                                     int64_t max_runs = 1,
                                                     size_t first_early = kernels::kNoEarlyOutput);

// A 64-byte aligned block that only grows.
class Block {
 public:
  // True if the address changed: what was bound to the block must be bound again.
  // ResourceExhausted if there is no memory.
  absl::StatusOr<bool> Reserve(size_t bytes);
  std::byte* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  Bytes bytes_;
  size_t size_ = 0;
};

// Sees an early output, by its index, which is gone when it returns.
using OutputVisitor = std::function<absl::Status(size_t output, const ConstTensorView& value)>;

// A plan bound to memory: what one thread runs. Not thread-safe.
class BoundPlan {
 public:
  // `arena` and `scratch` are as large as the plan says and outlive this.
  BoundPlan(std::shared_ptr<const Plan> plan, std::byte* arena, std::byte* scratch);

  // The program `runs` times, over as many times its rows; at most the plan's max_runs.
  absl::Status Run(int64_t runs = 1);
  // Once, with a visit to every early output. An error of the visitor ends the run. Weights that
  // are in a file are in memory only while their step runs.
  absl::Status RunVisiting(const OutputVisitor& visit);

  const Plan& plan() const { return *plan_; }
  // The rows of the first `runs` runs.
  TensorView input(size_t index, int64_t runs = 1) const;
  ConstTensorView output(size_t index, int64_t runs = 1) const;
  // Nanoseconds of each step of one run; for `octet inspect`, not the request path.
  absl::StatusOr<std::vector<int64_t>> TimedRun();

 private:
  std::byte* Address(int buffer, int64_t run) const;
  std::unique_ptr<kernels::BoundKernel> Bind(const kernels::Step& step, int64_t run) const;
  void DropPages(const kernels::Step& step) const;

  std::shared_ptr<const Plan> plan_;
  std::byte* arena_;
  std::byte* scratch_;
  std::vector<bool> is_end_;  // by buffer: an input or output, which moves on from run to run
  std::vector<std::unique_ptr<kernels::BoundKernel>> kernels_;  // of the first run
  // What later runs have instead: (step, kernel) of the steps that touch inputs or outputs.
  struct Replacement {
    size_t step;
    std::unique_ptr<kernels::BoundKernel> kernel;
  };
  std::vector<std::vector<Replacement>> later_runs_;
};

// Plans, memory and one run in a single call: for calibration, measuring and tests.
class PlanRunner {
 public:
  static absl::StatusOr<PlanRunner> Create(std::shared_ptr<const Plan> plan);
  // Inputs in the graph's order, in the engine's types and the plan's shapes. A run may overwrite
  // them: each needs its own Load().
  absl::Status Load(std::span<const Tensor> inputs);
  // Load() and run. The outputs lie in the runner's memory until the next run.
  absl::StatusOr<std::vector<ConstTensorView>> RunInPlace(std::span<const Tensor> inputs);
  // Load() and BoundPlan::RunVisiting().
  absl::Status RunVisiting(std::span<const Tensor> inputs, const OutputVisitor& visit);
  // RunInPlace() with a copy of the outputs.
  absl::StatusOr<std::vector<Tensor>> Run(std::span<const Tensor> inputs);
  BoundPlan& bound() { return *bound_; }

 private:
  Block arena_, scratch_;
  std::unique_ptr<BoundPlan> bound_;
};

}  // namespace octet::runtime
