// Products of a float matrix by quantized weights: every row of the matrix is quantized on the fly
// with a range of its own, so that no row's result depends on the rows beside it.

#pragma once

#include "absl/status/statusor.h"
#include "kernels/lowering.h"
#include "kernels/matrix_product.h"

namespace octet::kernels {

// Attributes of such nodes, other than 0: rows become s8 codes with zero points of 0, even where u8
// codes would be as fast; and the rows of a sample, an index of the first of three or more
// dimensions, share the range of all of them.
inline constexpr char kSignedRows[] = "octet.signed_rows";
inline constexpr char kRangePerSample[] = "octet.range_per_sample";

// The right operand must be a matrix of s8 codes: a constant, or what octet.ExpandWeights makes,
// where the node says how large the columns' sums are. Unimplemented for batched weights.
absl::StatusOr<bool> LowerDynamicProduct(LoweringContext& context, const MatrixProduct& product,
                                         const ProductShape& shape);

}  // namespace octet::kernels
