// Lowering of elementwise operators of two operands.

#pragma once

#include "absl/status/statusor.h"
#include "kernels/binary_rows.h"
#include "kernels/lowering.h"

namespace octet::kernels {

// A kernel of our own in the layout that the larger operand lies in, blocked layouts included, for
// floats and for codes with a quantizer for each operand. False for other element types.
absl::StatusOr<bool> LowerBinary(LoweringContext& context, BinaryOp op);

}  // namespace octet::kernels
