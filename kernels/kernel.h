// A kernel is one step of a plan: immutable, shared by all execution contexts. Binding it to the
// memory of one context gives what that context runs.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace octet::kernels {

// Belongs to one execution context; not thread-safe. Holds pointers into the context's memory.
class BoundKernel {
 public:
  virtual ~BoundKernel() = default;
  // Allocates nothing on the kernels that matter for speed.
  virtual absl::Status Run() = 0;
};

// The memory of one step. An operand that the step does not have is null.
struct StepMemory {
  std::span<std::byte* const> inputs;
  std::span<std::byte* const> outputs;
  std::byte* scratch = nullptr;  // at least Kernel::scratch_bytes(), 64-byte aligned
};

// Thread-safe: immutable.
class Kernel {
 public:
  virtual ~Kernel() = default;

  // What runs, for reports and gates: oneDNN's implementation name, or "octet:NAME" for our own.
  virtual std::string implementation() const = 0;
  virtual size_t scratch_bytes() const { return 0; }
  virtual std::unique_ptr<BoundKernel> Bind(const StepMemory& memory) const = 0;
};

// A kernel that is a function of its operands' addresses; the lambda is copied into each context.
template <typename Function>
std::unique_ptr<Kernel> MakeKernel(std::string name, Function function, size_t scratch_bytes = 0);

// --- implementation ---

namespace internal {

template <typename Function>
class FunctionKernel final : public Kernel {
 public:
  FunctionKernel(std::string name, Function function, size_t scratch_bytes)
      : name_(std::move(name)), function_(std::move(function)), scratch_bytes_(scratch_bytes) {}

  std::string implementation() const override { return name_; }
  size_t scratch_bytes() const override { return scratch_bytes_; }
  std::unique_ptr<BoundKernel> Bind(const StepMemory& memory) const override {
    return std::make_unique<Bound>(function_, memory);
  }

 private:
  class Bound final : public BoundKernel {
   public:
    Bound(const Function& function, const StepMemory& memory)
        : function_(function),
          inputs_(memory.inputs.begin(), memory.inputs.end()),
          outputs_(memory.outputs.begin(), memory.outputs.end()),
          scratch_(memory.scratch) {}
    absl::Status Run() override {
      return function_(StepMemory{.inputs = inputs_, .outputs = outputs_, .scratch = scratch_});
    }

   private:
    const Function function_;
    const std::vector<std::byte*> inputs_, outputs_;
    std::byte* const scratch_;
  };

  const std::string name_;
  const Function function_;
  const size_t scratch_bytes_;
};

}  // namespace internal

template <typename Function>
std::unique_ptr<Kernel> MakeKernel(std::string name, Function function, size_t scratch_bytes) {
  return std::make_unique<internal::FunctionKernel<Function>>(std::move(name), std::move(function),
                                                              scratch_bytes);
}

}  // namespace octet::kernels
