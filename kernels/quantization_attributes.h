// How oneDNN is told of the quantizers of a primitive's operands, for all that multiply activations
// by weights.

#pragma once

#include "absl/status/status.h"
#include "graph/types.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels {

// The operands of source * weights -> destination. `destination` may be float, with no quantizer.
struct QuantizedOperands {
  // Null: quantized at run time; its scale and zero point are bound by the caller.
  const graph::TensorType* source = nullptr;
  const graph::TensorType& weights;
  const graph::TensorType& destination;
  int weights_mask = 0;      // oneDNN's mask of the dimensions that have scales of their own
  float weights_factor = 1;  // multiplies the weights' scales
};

// Unimplemented unless the weights are s8 codes with zero points of 0, which is what kernels take.
absl::Status CheckQuantizedWeights(const graph::TensorType& weights);

// Declares scales and zero points; their values come with BindQuantization(). Unimplemented for
// quantizers that no kernel takes: weights with zero points, activations with an axis.
absl::Status SetQuantization(const QuantizedOperands& operands, dnnl::primitive_attr& attributes);
void BindQuantization(const QuantizedOperands& operands, PrimitiveCall& call);

// The same for a result alone; nothing if it is float.
absl::Status SetResultQuantization(const graph::TensorType& result,
                                   dnnl::primitive_attr& attributes);
void BindResultQuantization(const graph::TensorType& result, PrimitiveCall& call);

}  // namespace octet::kernels
