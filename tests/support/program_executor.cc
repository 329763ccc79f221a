#include "tests/support/program_executor.h"

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::testing {
namespace {

// Untouched memory holds this, so that a kernel that leaves elements out is noticed.
constexpr int kPoison = 0xA5;

absl::StatusOr<Tensor> Bytes(size_t size) {
  // One byte at least: operands that are there have an address.
  const size_t rounded = (size + 64) / 64 * 64;
  OCTET_ASSIGN_OR_RETURN(Tensor bytes,
                         Tensor::Allocate(DataType::kUint8, {static_cast<int64_t>(rounded)}));
  std::memset(bytes.mutable_data(), kPoison, rounded);
  return bytes;
}

absl::Status RunStep(const kernels::Step& step, const std::vector<std::byte*>& memory,
                     std::byte* scratch) {
  const auto addresses = [&](const std::vector<int>& buffers) {
    std::vector<std::byte*> result;
    result.reserve(buffers.size());
    for (const int buffer : buffers) {
      result.push_back(buffer < 0 ? nullptr : memory[static_cast<size_t>(buffer)]);
    }
    return result;
  };
  const std::vector<std::byte*> inputs = addresses(step.inputs);
  const std::vector<std::byte*> outputs = addresses(step.outputs);
  const std::unique_ptr<kernels::BoundKernel> bound =
      step.kernel->Bind({.inputs = inputs, .outputs = outputs, .scratch = scratch});
  return Annotate(bound->Run(), absl::StrCat(step.op, " ", step.node));
}

}  // namespace

absl::StatusOr<std::vector<Tensor>> RunProgram(const kernels::Program& program,
                                               const std::vector<Tensor>& inputs) {
  if (inputs.size() != program.inputs.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", program.inputs.size(), " inputs, got ", inputs.size()));
  }
  std::vector<Tensor> owned;
  std::vector<std::byte*> memory;
  for (const kernels::Buffer& buffer : program.buffers) {
    if (buffer.constant != nullptr) {
      memory.push_back(const_cast<std::byte*>(buffer.constant));  // kernels do not write there
      continue;
    }
    OCTET_ASSIGN_OR_RETURN(Tensor bytes, Bytes(buffer.bytes));
    owned.push_back(std::move(bytes));
    memory.push_back(owned.back().mutable_data());
  }
  OCTET_ASSIGN_OR_RETURN(Tensor scratch, Bytes(program.scratch_bytes));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const graph::TensorType& type = program.input_types[i];
    if (inputs[i].dtype() != type.dtype || inputs[i].shape() != type.shape) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " must be ", ToText(type)));
    }
    std::memcpy(memory[static_cast<size_t>(program.inputs[i])], inputs[i].data(),
                inputs[i].byte_size());
  }
  for (const kernels::Step& step : program.steps) {
    OCTET_RETURN_IF_ERROR(RunStep(step, memory, scratch.mutable_data()));
  }
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const graph::TensorType& type = program.output_types[i];
    OCTET_ASSIGN_OR_RETURN(Tensor output, Tensor::Allocate(type.dtype, type.shape));
    std::memcpy(output.mutable_data(), memory[static_cast<size_t>(program.outputs[i])],
                output.byte_size());
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace octet::testing
