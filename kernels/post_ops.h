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

// How an operand lies along an output that it is broadcast to.
enum class Spread {
  kWhole,   // as large as the output
  kRow,     // one element per index of the last dimension, or one in all
  kColumn,  // one element per index of all dimensions but the last
  kOther,
};
Spread SpreadOf(const Shape& operand, const Shape& output);

// The chain behind a node, attached to the primitive that computes it.
class FusedChain {
 public:
  // For a primitive whose result has the output's own dimensions.
  FusedChain() = default;
  // For one that sees the output, dense and row-major, under other dimensions, of which the last
  // is the output's last: a product of matrices with the leading dimensions collapsed.
  explicit FusedChain(Shape view) : view_(std::move(view)) {}
  // For a primitive that runs once for each index of the output's first dimension, channels last.
  static FusedChain PerSample() {
    FusedChain chain;
    chain.per_sample_ = true;
    return chain;
  }

  // `attributes` gets the post-ops, after those that it has. A residual addition into an 8-bit
  // result accumulates in place (sum post-op); other operands are read beside it (binary post-op).
  // Unimplemented for an operator that has no post-op.
  absl::Status Append(LoweringContext& context, dnnl::primitive_attr& attributes);

  // After the primitive's descriptor is made: the output buffer in `desc`, which has the output's
  // own dimensions, and the operands.
  absl::StatusOr<int> BindOutput(LoweringContext& context,
                                 const dnnl::primitive_desc_base& primitive,
                                 const dnnl::memory::desc& desc, PrimitiveCall& call);

 private:
  struct BinaryOperand {
    int post_op;  // position in the chain
    int input;    // of the node
    bool plain;   // read dense and row-major, not in the layout of the output
  };
  absl::Status AppendOperand(LoweringContext& context, const graph::FusedOp& fused,
                             dnnl::post_ops& chain);

  std::optional<Shape> view_;
  bool per_sample_ = false;
  std::vector<BinaryOperand> binary_;
  std::optional<int> summed_input_;
};

}  // namespace octet::kernels
