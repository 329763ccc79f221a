// A oneDNN primitive as a step of a plan.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel.h"
#include "kernels/lowering.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

// Attributes every primitive is created with: the scratchpad is the caller's, since the library's
// own is not safe when a primitive runs in another thread than its creator's.
dnnl::primitive_attr BaseAttributes();

// Collects the operands of one primitive, then emits it.
class PrimitiveCall {
 public:
  explicit PrimitiveCall(LoweringContext& context) : context_(context) {}

  // `argument` is a DNNL_ARG_* index; `buffer` an index into the program's buffers. Where the
  // primitive runs several times, each run finds the operand `step` bytes further on.
  void Input(int argument, int buffer, const dnnl::memory::desc& desc, size_t step = 0);
  void Output(int argument, int buffer, const dnnl::memory::desc& desc, size_t step = 0);
  // Run-time scales and zero points: a constant vector.
  void Scales(int argument, std::span<const float> scales);
  void ZeroPoint(int argument, int32_t zero_point);

  // The primitive runs `times` times.
  void Emit(const dnnl::primitive& primitive, const dnnl::primitive_desc_base& desc, Work work = {},
            int64_t times = 1);

 private:
  struct Argument {
    int index;
    bool output;
    int position;  // among the step's inputs or outputs
    dnnl::memory::desc desc;
    size_t step;  // bytes from one run to the next
  };
  friend class PrimitiveKernel;

  LoweringContext& context_;
  std::vector<Argument> arguments_;
  std::vector<int> inputs_;
  std::vector<int> outputs_;
};

}  // namespace octet::kernels
