// The product of two matrices, or of two batches of them, as MatMul and Gemm spell it.

#pragma once

#include "absl/status/statusor.h"
#include "kernels/lowering.h"

namespace octet::kernels {

// alpha * left * right + beta * addend, of inputs 0, 1 and 2 of a node. The transpositions are for
// matrices without batch dimensions.
struct MatrixProduct {
  bool transpose_left = false;
  bool transpose_right = false;
  float alpha = 1;
  float beta = 1;

  static constexpr int kLeft = 0, kRight = 1, kAddend = 2;
};

// The sizes of a product, with every operand of the same rank: batch dimensions, then the matrix.
struct ProductShape {
  Shape left, right, output;
  int64_t rows() const { return output[output.size() - 2]; }
  int64_t depth() const { return left.back(); }
  int64_t columns() const { return output.back(); }
};

// numpy's rules: a vector is a row on the left and a column on the right, batch dimensions
// broadcast. InvalidArgument if the shapes do not fit.
absl::StatusOr<ProductShape> ReadProductShape(const MatrixProduct& product, const Shape& left,
                                              const Shape& right);

// oneDNN's matmul, in float32, in bfloat16 (weights of that type; sums are float32) or in int8;
// int8 with a float left operand quantizes each row of it on the fly. False for element types and
// sizes that oneDNN has not got.
absl::StatusOr<bool> LowerMatrixProduct(LoweringContext& context, const MatrixProduct& product);

}  // namespace octet::kernels
