// How oneDNN is told of the quantizers of a primitive's operands, for all that multiply activations
// by weights.

#pragma once

#include "absl/status/status.h"
#include "graph/types.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels {

// The element type a value is stored in, of those oneDNN multiplies: f32, u8 or s8.
dnnl::memory::data_type StorageType(const graph::TensorType& type);

// The operands of source * weights -> destination. `destination` may be float, with no quantizer.
struct QuantizedOperands {
  const graph::TensorType& source;
  const graph::TensorType& weights;
  const graph::TensorType& destination;
  int weights_mask = 0;      // oneDNN's mask of the dimensions that have scales of their own
  float weights_factor = 1;  // multiplies the weights' scales
};

// Declares scales and zero points; their values come with BindQuantization(). Unimplemented for
// quantizers that no kernel takes: weights with zero points, sources with an axis.
absl::Status SetQuantization(const QuantizedOperands& operands, dnnl::primitive_attr& attributes);

void BindQuantization(const QuantizedOperands& operands, PrimitiveCall& call);

}  // namespace octet::kernels
