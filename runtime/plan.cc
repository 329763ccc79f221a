#include "runtime/plan.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/lowering.h"

namespace octet::runtime {

absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const graph::Graph& graph,
                                                     std::span<const Shape> input_shapes,
                                                     kernels::WeightCache& weights) {
  OCTET_ASSIGN_OR_RETURN(const graph::Graph specialized, graph::Specialize(graph, input_shapes));
  auto plan = std::make_shared<Plan>();
  OCTET_ASSIGN_OR_RETURN(plan->program, kernels::LowerGraph(specialized, weights));
  plan->memory = PlanMemory(plan->program);
  return plan;
}

void Block::Free::operator()(std::byte* bytes) const { std::free(bytes); }

absl::StatusOr<bool> Block::Reserve(size_t bytes) {
  if (bytes <= size_ && bytes_ != nullptr) return false;
  constexpr size_t kAlignment = 64;
  const size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", rounded, " bytes"));
  }
  // Kernels may read padding that nobody wrote; another tenant's bytes must not be in it.
  std::memset(memory, 0, rounded);
  bytes_.reset(memory);
  size_ = rounded;
  return true;
}

BoundPlan::BoundPlan(std::shared_ptr<const Plan> plan, std::byte* arena, std::byte* scratch)
    : plan_(std::move(plan)), arena_(arena) {
  for (const kernels::Step& step : plan_->program.steps) {
    std::vector<std::byte*> inputs, outputs;
    for (const int buffer : step.inputs) inputs.push_back(Address(buffer));
    for (const int buffer : step.outputs) outputs.push_back(Address(buffer));
    kernels_.push_back(
        step.kernel->Bind({.inputs = inputs, .outputs = outputs, .scratch = scratch}));
  }
}

std::byte* BoundPlan::Address(int buffer) const {
  if (buffer < 0) return nullptr;
  const kernels::Buffer& described = plan_->program.buffers[static_cast<size_t>(buffer)];
  // Kernels only read constants; the operand arrays have one type for both.
  if (described.constant != nullptr) return const_cast<std::byte*>(described.constant);
  return arena_ + plan_->memory.offsets[static_cast<size_t>(buffer)];
}

absl::Status BoundPlan::Run() {
  for (const auto& kernel : kernels_) OCTET_RETURN_IF_ERROR(kernel->Run());
  return absl::OkStatus();
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

TensorView BoundPlan::input(size_t index) const {
  const graph::TensorType& type = plan_->program.input_types[index];
  return {type.dtype, type.shape, Address(plan_->program.inputs[index])};
}

ConstTensorView BoundPlan::output(size_t index) const {
  const graph::TensorType& type = plan_->program.output_types[index];
  return {type.dtype, type.shape, Address(plan_->program.outputs[index])};
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

absl::StatusOr<std::vector<Tensor>> PlanRunner::Run(std::span<const Tensor> inputs) {
  const kernels::Program& program = bound_->plan().program;
  OCTET_RETURN_IF_ERROR(Load(inputs));
  OCTET_RETURN_IF_ERROR(bound_->Run());
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const ConstTensorView from = bound_->output(i);
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(from.dtype, from.shape));
    if (from.byte_size() > 0) std::memcpy(tensor.mutable_data(), from.data, from.byte_size());
    outputs.push_back(std::move(tensor));
  }
  return outputs;
}

}  // namespace octet::runtime
