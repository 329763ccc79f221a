#include "runtime/plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"

namespace octet::runtime {
namespace {

// Whether every input and output has a first dimension and memory of its own in the arena.
bool RowsMoveOn(const kernels::Program& program) {
  const auto moves_on = [&](int buffer, const graph::TensorType& type) {
    const kernels::Buffer& described = program.buffers[static_cast<size_t>(buffer)];
    const absl::StatusOr<size_t> dense = CheckedByteSize(type.dtype, type.shape);
    return described.constant == nullptr && !type.shape.empty() && dense.ok() &&
           *dense == described.bytes;
  };
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    if (!moves_on(program.inputs[i], program.input_types[i])) return false;
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (!moves_on(program.outputs[i], program.output_types[i])) return false;
  }
  return true;
}

Shape OfRuns(Shape shape, int64_t runs) {
  if (runs != 1) shape[0] *= runs;
  return shape;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const graph::Graph& graph,
                                                     std::span<const Shape> input_shapes,
                                                     kernels::WeightCache& weights,
                                                     int64_t max_runs, size_t first_early) {
  OCTET_ASSIGN_OR_RETURN(const graph::Graph specialized, graph::Specialize(graph, input_shapes));
  auto plan = std::make_shared<Plan>();
  OCTET_ASSIGN_OR_RETURN(plan->program, kernels::LowerGraph(specialized, weights, first_early));
  const bool one_run = !plan->program.early_outputs.empty() || !RowsMoveOn(plan->program);
  if (max_runs > 1 && one_run) {
    return absl::UnimplementedError("the rows of a batch cannot run one after the other");
  }
  plan->max_runs = max_runs;
  plan->memory = PlanMemory(plan->program, max_runs);
  return plan;
}

absl::StatusOr<bool> Block::Reserve(size_t bytes) {
  if (bytes <= size_ && bytes_ != nullptr) return false;
  constexpr size_t kAlignment = 64;
  const size_t rounded = std::max(RoundedUp(bytes, kAlignment), kAlignment);
  // Zeroed: kernels may read padding that nobody wrote, and another tenant's bytes must not be in
  // it.
  Bytes memory = AllocateZeroed(rounded);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", rounded, " bytes"));
  }
  bytes_ = std::move(memory);
  size_ = rounded;
  return true;
}

BoundPlan::BoundPlan(std::shared_ptr<const Plan> plan, std::byte* arena, std::byte* scratch)
    : plan_(std::move(plan)), arena_(arena), scratch_(scratch) {
  const kernels::Program& program = plan_->program;
  is_end_.assign(program.buffers.size(), false);
  for (const auto* ends : {&program.inputs, &program.outputs}) {
    for (const int buffer : *ends) is_end_[static_cast<size_t>(buffer)] = true;
  }
  for (const kernels::Step& step : program.steps) kernels_.push_back(Bind(step, 0));
  const auto touches_end = [this](const kernels::Step& step) {
    const auto is_end = [this](int buffer) {
      return buffer >= 0 && is_end_[static_cast<size_t>(buffer)];
    };
    return std::any_of(step.inputs.begin(), step.inputs.end(), is_end) ||
           std::any_of(step.outputs.begin(), step.outputs.end(), is_end);
  };
  for (int64_t run = 1; run < plan_->max_runs; ++run) {
    std::vector<Replacement>& replacements = later_runs_.emplace_back();
    for (size_t s = 0; s < program.steps.size(); ++s) {
      const kernels::Step& step = program.steps[s];
      if (touches_end(step)) replacements.push_back({s, Bind(step, run)});
    }
  }
}

std::unique_ptr<kernels::BoundKernel> BoundPlan::Bind(const kernels::Step& step,
                                                      int64_t run) const {
  std::vector<std::byte*> inputs, outputs;
  for (const int buffer : step.inputs) inputs.push_back(Address(buffer, run));
  for (const int buffer : step.outputs) outputs.push_back(Address(buffer, run));
  return step.kernel->Bind({.inputs = inputs, .outputs = outputs, .scratch = scratch_});
}

std::byte* BoundPlan::Address(int buffer, int64_t run) const {
  if (buffer < 0) return nullptr;
  const auto index = static_cast<size_t>(buffer);
  const kernels::Buffer& described = plan_->program.buffers[index];
  // Kernels only read constants; the operand arrays have one type for both.
  if (described.constant != nullptr) return const_cast<std::byte*>(described.constant);
  std::byte* const first = arena_ + plan_->memory.offsets[index];
  return is_end_[index] ? first + static_cast<size_t>(run) * described.bytes : first;
}

absl::Status BoundPlan::Run(int64_t runs) {
  for (const auto& kernel : kernels_) OCTET_RETURN_IF_ERROR(kernel->Run());
  for (int64_t run = 1; run < runs; ++run) {
    const std::vector<Replacement>& replacements = later_runs_[static_cast<size_t>(run) - 1];
    auto next = replacements.begin();
    for (size_t s = 0; s < kernels_.size(); ++s) {
      const bool replaced = next != replacements.end() && next->step == s;
      kernels::BoundKernel& kernel = replaced ? *(next++)->kernel : *kernels_[s];
      OCTET_RETURN_IF_ERROR(kernel.Run());
    }
  }
  return absl::OkStatus();
}

absl::Status BoundPlan::RunVisiting(const OutputVisitor& visit) {
  auto next = plan_->program.early_outputs.begin();
  for (size_t s = 0; s <= kernels_.size(); ++s) {
    for (; next != plan_->program.early_outputs.end() && next->step == s; ++next) {
      OCTET_RETURN_IF_ERROR(visit(next->output, output(next->output)));
    }
    if (s == kernels_.size()) break;
    OCTET_RETURN_IF_ERROR(kernels_[s]->Run());
    DropPages(plan_->program.steps[s]);
  }
  return absl::OkStatus();
}

void BoundPlan::DropPages(const kernels::Step& step) const {
  for (const int input : step.inputs) {
    if (input < 0) continue;
    const kernels::Buffer& buffer = plan_->program.buffers[static_cast<size_t>(input)];
    if (buffer.in_file) DropFilePages({buffer.constant, buffer.bytes});
  }
}

absl::StatusOr<std::vector<int64_t>> BoundPlan::TimedRun() {
  std::vector<int64_t> nanoseconds;
  for (const auto& kernel : kernels_) {
    const auto start = std::chrono::steady_clock::now();
    OCTET_RETURN_IF_ERROR(kernel->Run());
    nanoseconds.push_back((std::chrono::steady_clock::now() - start).count());
  }
  return nanoseconds;
}

TensorView BoundPlan::input(size_t index, int64_t runs) const {
  const graph::TensorType& type = plan_->program.input_types[index];
  return {type.dtype, OfRuns(type.shape, runs), Address(plan_->program.inputs[index], 0)};
}

ConstTensorView BoundPlan::output(size_t index, int64_t runs) const {
  const graph::TensorType& type = plan_->program.output_types[index];
  return {type.dtype, OfRuns(type.shape, runs), Address(plan_->program.outputs[index], 0)};
}

absl::StatusOr<PlanRunner> PlanRunner::Create(std::shared_ptr<const Plan> plan) {
  PlanRunner runner;
  OCTET_RETURN_IF_ERROR(runner.arena_.Reserve(plan->memory.arena_bytes).status());
  OCTET_RETURN_IF_ERROR(runner.scratch_.Reserve(plan->program.scratch_bytes).status());
  runner.bound_ =
      std::make_unique<BoundPlan>(std::move(plan), runner.arena_.data(), runner.scratch_.data());
  return runner;
}

absl::Status PlanRunner::Load(std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorView to = bound_->input(i);
    if (inputs[i].dtype() != to.dtype || inputs[i].shape() != to.shape) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is ", Name(inputs[i].dtype()),
                                                     ToText(inputs[i].shape()), ", expected ",
                                                     Name(to.dtype), ToText(to.shape)));
    }
    if (to.byte_size() > 0) std::memcpy(to.data, inputs[i].data(), to.byte_size());
  }
  return absl::OkStatus();
}

absl::Status PlanRunner::RunVisiting(std::span<const Tensor> inputs, const OutputVisitor& visit) {
  OCTET_RETURN_IF_ERROR(Load(inputs));
  for (const Tensor& input : inputs) input.DropPages();
  return bound_->RunVisiting(visit);
}

absl::StatusOr<std::vector<ConstTensorView>> PlanRunner::RunInPlace(
    std::span<const Tensor> inputs) {
  OCTET_RETURN_IF_ERROR(Load(inputs));
  OCTET_RETURN_IF_ERROR(bound_->Run());
  const size_t count = bound_->plan().program.outputs.size();
  std::vector<ConstTensorView> outputs;
  outputs.reserve(count);
  for (size_t i = 0; i < count; ++i) outputs.push_back(bound_->output(i));
  return outputs;
}

absl::StatusOr<std::vector<Tensor>> PlanRunner::Run(std::span<const Tensor> inputs) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<ConstTensorView> views, RunInPlace(inputs));
  std::vector<Tensor> outputs;
  for (const ConstTensorView& view : views) {
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Copy(view));
    outputs.push_back(std::move(tensor));
  }
  return outputs;
}

}  // namespace octet::runtime
