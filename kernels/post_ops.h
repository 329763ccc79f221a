// Node::fused as oneDNN post-ops.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/lowering.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels {

// The oneDNN algorithm of an elementwise operator with its parameters; none if it has none.
struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha = 0;
  float beta = 0;
};
std::optional<Eltwise> EltwiseOf(const graph::FusedOp& fused);

// The chain behind a node, attached to the primitive that computes it.
class FusedChain {
 public:
  // `attributes` gets the post-ops. A residual addition into an 8-bit result accumulates in place
  // (sum post-op); other operands are read beside it (binary post-op).
  // Unimplemented for an operator that has no post-op.
  absl::Status Append(LoweringContext& context, dnnl::primitive_attr& attributes);

  // After the primitive's descriptor is made: the output buffer in `desc`, and the operands.
  absl::StatusOr<int> BindOutput(LoweringContext& context, const dnnl::primitive_desc_base& primitive,
                                 const dnnl::memory::desc& desc, PrimitiveCall& call);

 private:
  struct BinaryOperand {
    int post_op;  // position in the chain
    int input;    // of the node
  };
  std::vector<BinaryOperand> binary_;
  std::optional<int> summed_input_;
};

}  // namespace octet::kernels
