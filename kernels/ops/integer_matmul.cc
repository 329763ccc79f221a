// MatMulInteger and QLinearMatMul: products of matrices of codes, exact in int32.

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/integer_operand.h"
#include "kernels/matrix_product.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

// Where the operands stand among the inputs; -1: the operator has none.
struct Inputs {
  int left, left_zero, right, right_zero;
  int left_scale = -1, right_scale = -1, scale = -1, zero = -1;  // `scale`, `zero`: the result's
};
constexpr Inputs kMatMulInteger = {.left = 0, .left_zero = 2, .right = 1, .right_zero = 3};
constexpr Inputs kQLinearMatMul = {.left = 0,
                                   .left_zero = 2,
                                   .right = 3,
                                   .right_zero = 5,
                                   .left_scale = 1,
                                   .right_scale = 4,
                                   .scale = 6,
                                   .zero = 7};

absl::StatusOr<Shape> InferShape(const InferContext& context, const Inputs& inputs) {
  for (const int i : {inputs.left, inputs.right, inputs.left_zero, inputs.right_zero}) {
    OCTET_RETURN_IF_ERROR(ExpectCodes(context, i));
  }
  const Shape& left = context.shape(inputs.left);
  const Shape& right = context.shape(inputs.right);
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape, ReadProductShape({}, left, right));
  OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.left_zero, shape.rows()));
  OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.right_zero, shape.columns()));
  if (inputs.scale >= 0) {
    OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.left_scale, shape.rows()));
    OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.right_scale, shape.columns()));
    OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.scale, 1));
    OCTET_RETURN_IF_ERROR(ExpectCount(context, inputs.zero, 1));
    for (const int i : {inputs.left_scale, inputs.right_scale, inputs.scale}) {
      OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
    }
    OCTET_RETURN_IF_ERROR(ExpectCodes(context, inputs.zero));
  }
  // A vector's dimension of one is not part of the result.
  Shape output = shape.output;
  if (right.size() == 1) output.pop_back();
  if (left.size() == 1) output.erase(output.end() - (right.size() == 1 ? 1 : 2));
  return output;
}

absl::StatusOr<std::vector<TensorType>> InferInteger(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(Shape shape, InferShape(context, kMatMulInteger));
  return std::vector<TensorType>{{.dtype = DataType::kInt32, .shape = std::move(shape)}};
}

absl::StatusOr<std::vector<TensorType>> InferQLinear(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(Shape shape, InferShape(context, kQLinearMatMul));
  return std::vector<TensorType>{
      {.dtype = context.input(kQLinearMatMul.zero).dtype, .shape = std::move(shape)}};
}

// Calls row_done(first element of the row in the result, row of its matrix, the row's sums).
template <typename RowDone>
absl::Status Multiply(const Inputs& which, std::span<const ConstTensorView> inputs,
                      RowDone&& row_done) {
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape,
                         ReadProductShape({}, inputs[which.left].shape, inputs[which.right].shape));
  const int64_t rows = shape.rows(), depth = shape.depth(), columns = shape.columns();
  const int64_t matrix = rows * columns;
  if (matrix == 0 || ElementCount(shape.output) == 0) return absl::OkStatus();
  const std::vector<int16_t> left =
      Centered(inputs[which.left], ZeroPoints(inputs, which.left_zero, rows), depth);
  const std::vector<int16_t> right =
      Centered(inputs[which.right], ZeroPoints(inputs, which.right_zero, columns), 1);
  const size_t batch_rank = shape.output.size() - 2;
  std::vector<int32_t> sums(static_cast<size_t>(columns));
  const int64_t batch = ElementCount(shape.output) / matrix;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t left_at = 0, right_at = 0, left_step = rows * depth, right_step = depth * columns;
    for (size_t d = batch_rank, rest = static_cast<size_t>(b); d-- > 0;) {
      const auto index = static_cast<int64_t>(rest % static_cast<size_t>(shape.output[d]));
      rest /= static_cast<size_t>(shape.output[d]);
      if (shape.left[d] != 1) left_at += index * left_step;
      if (shape.right[d] != 1) right_at += index * right_step;
      left_step *= shape.left[d];
      right_step *= shape.right[d];
    }
    for (int64_t m = 0; m < rows; ++m) {
      std::fill(sums.begin(), sums.end(), 0);
      for (int64_t k = 0; k < depth; ++k) {
        const int32_t a = left[left_at + m * depth + k];
        const int16_t* const from = right.data() + right_at + k * columns;
        for (int64_t n = 0; n < columns; ++n) sums[n] += a * from[n];
      }
      row_done(b * matrix + m * columns, m, sums);
    }
  }
  return absl::OkStatus();
}

absl::Status ReferenceInteger(const graph::Node&, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const auto to = outputs[0].As<int32_t>();
  return Multiply(kMatMulInteger, inputs,
                  [&](int64_t at, int64_t, const std::vector<int32_t>& sums) {
                    std::copy(sums.begin(), sums.end(), to.begin() + at);
                  });
}

absl::Status ReferenceQLinear(const graph::Node&, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const Inputs& which = kQLinearMatMul;
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape,
                         ReadProductShape({}, inputs[which.left].shape, inputs[which.right].shape));
  const std::vector<float> left = Scales(inputs[which.left_scale], shape.rows());
  const std::vector<float> right = Scales(inputs[which.right_scale], shape.columns());
  const float scale = inputs[which.scale].As<float>()[0];
  const int32_t zero = ZeroPoints(inputs, which.zero, 1)[0];
  const auto finish = [&]<typename T>(std::span<T> to) {
    return Multiply(which, inputs, [&](int64_t at, int64_t row, const std::vector<int32_t>& sums) {
      for (size_t n = 0; n < sums.size(); ++n) {
        to[at + n] = Requantized<T>(sums[n], left[row] * right[n] / scale, zero);
      }
    });
  };
  if (outputs[0].dtype == DataType::kInt8) return finish(outputs[0].As<int8_t>());
  return finish(outputs[0].As<uint8_t>());
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "MatMulInteger",
                .min_inputs = 2,
                .max_inputs = 4,
                .infer = InferInteger,
                .reference = ReferenceInteger}},
    {.schema = {.type = "QLinearMatMul",
                .min_inputs = 8,
                .max_inputs = 8,
                .infer = InferQLinear,
                .reference = ReferenceQLinear}},
};

}  // namespace

std::span<const Operator> integer_matmul() { return kOperators; }

}  // namespace octet::kernels::ops
