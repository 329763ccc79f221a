// Products of a float matrix by quantized weights: every row of the matrix is quantized on the fly
// with a range of its own, so that no row's result depends on the rows beside it.

#pragma once

#include "absl/status/statusor.h"
#include "kernels/lowering.h"
#include "kernels/matrix_product.h"

namespace octet::kernels {

// The right operand must be a matrix of s8 codes: a constant, or what octet.ExpandWeights makes,
// where the node says how large the columns' sums are. Unimplemented for batched weights.
absl::StatusOr<bool> LowerDynamicProduct(LoweringContext& context, const MatrixProduct& product,
                                         const ProductShape& shape);

}  // namespace octet::kernels
