// MatMul and Gemm. The fast forms are in kernels/matrix_product.h.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/matrix_product.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kLeft = MatrixProduct::kLeft;
constexpr int kRight = MatrixProduct::kRight;
constexpr int kAddend = MatrixProduct::kAddend;

MatrixProduct GemmProduct(const graph::Node& node) {
  return {.transpose_left = node.Int("transA", 0) != 0,
          .transpose_right = node.Int("transB", 0) != 0,
          .alpha = node.Float("alpha", 1),
          .beta = node.Float("beta", 1)};
}

absl::Status CheckTypes(const InferContext& context) {
  const DataType type = context.input(0).dtype;
  if (type == DataType::kBool) return absl::InvalidArgumentError("a matrix of BOOL");
  for (int i = 1; i < context.input_count(); ++i) {
    if (i == kRight && IsBFloat16Weight(context, i)) continue;
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, type));
  }
  return absl::OkStatus();
}

// What is added must broadcast to the product, and not the other way round.
absl::Status CheckAddend(const InferContext& context, const Shape& output) {
  if (!context.has_input(kAddend)) return absl::OkStatus();
  OCTET_ASSIGN_OR_RETURN(const Shape sum, BroadcastShapes(context.shape(kAddend), output));
  if (sum == output) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the addend has shape ",
                                                 ToText(context.shape(kAddend)),
                                                 ", which does not broadcast to ", ToText(output)));
}

// A vector's dimension of one is not part of the result.
Shape MatMulOutput(const Shape& left, const Shape& right, const ProductShape& product) {
  Shape output = product.output;
  if (right.size() == 1) output.pop_back();
  if (left.size() == 1) output.erase(output.end() - (right.size() == 1 ? 1 : 2));
  return output;
}

absl::StatusOr<std::vector<TensorType>> InferMatMul(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckTypes(context));
  const Shape& left = context.shape(kLeft);
  const Shape& right = context.shape(kRight);
  OCTET_ASSIGN_OR_RETURN(const ProductShape product, ReadProductShape({}, left, right));
  Shape output = MatMulOutput(left, right, product);
  OCTET_RETURN_IF_ERROR(CheckAddend(context, output));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = std::move(output)}};
}

absl::StatusOr<std::vector<TensorType>> InferGemm(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckTypes(context));
  if (context.rank(kLeft) != 2 || context.rank(kRight) != 2) {
    return absl::InvalidArgumentError(absl::StrCat("expected two matrices, got ",
                                                   ToText(context.shape(kLeft)), " and ",
                                                   ToText(context.shape(kRight))));
  }
  OCTET_ASSIGN_OR_RETURN(
      const ProductShape product,
      ReadProductShape(GemmProduct(context.node()), context.shape(kLeft), context.shape(kRight)));
  OCTET_RETURN_IF_ERROR(CheckAddend(context, product.output));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = product.output}};
}

// The type sums are kept in.
template <typename T>
using Accumulator = std::conditional_t<std::is_floating_point_v<T>, double, T>;

// output[m][n] += sum_k left[m][k] * right[k][n], row by row so that the inner loop is contiguous.
template <typename T>
void MultiplyMatrix(const MatrixProduct& product, const ProductShape& shape, const T* left,
                    const T* right, std::span<Accumulator<T>> row, T* output) {
  const int64_t rows = shape.rows(), depth = shape.depth(), columns = shape.columns();
  for (int64_t m = 0; m < rows; ++m) {
    std::fill(row.begin(), row.end(), 0);
    for (int64_t k = 0; k < depth; ++k) {
      const auto a = static_cast<Accumulator<T>>(product.transpose_left ? left[k * rows + m]
                                                                        : left[m * depth + k]);
      const T* b = product.transpose_right ? right + k : right + k * columns;
      const int64_t step = product.transpose_right ? depth : 1;
      for (int64_t n = 0; n < columns; ++n) row[n] += a * b[n * step];
    }
    for (int64_t n = 0; n < columns; ++n) {
      output[m * columns + n] = static_cast<T>(
          product.alpha == 1 ? row[n] : static_cast<Accumulator<T>>(product.alpha * row[n]));
    }
  }
}

// Steps of an operand through the batch: 0 where it is broadcast.
std::vector<int64_t> BatchSteps(const Shape& operand) {
  const size_t rank = operand.size();
  std::vector<int64_t> steps(rank - 2);
  int64_t stride = operand[rank - 1] * operand[rank - 2];
  for (size_t d = rank - 2; d-- > 0; stride *= operand[d]) steps[d] = operand[d] == 1 ? 0 : stride;
  return steps;
}

template <typename T>
void Multiply(const MatrixProduct& product, const ProductShape& shape, const T* left,
              const T* right, T* output) {
  const std::vector<int64_t> left_steps = BatchSteps(shape.left);
  const std::vector<int64_t> right_steps = BatchSteps(shape.right);
  std::vector<int64_t> index(left_steps.size(), 0);
  std::vector<Accumulator<T>> row(static_cast<size_t>(shape.columns()));
  const int64_t matrix = shape.rows() * shape.columns();
  const int64_t batch = matrix == 0 ? 0 : ElementCount(shape.output) / matrix;
  for (int64_t i = 0; i < batch; ++i, output += matrix) {
    int64_t left_at = 0, right_at = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      left_at += index[d] * left_steps[d];
      right_at += index[d] * right_steps[d];
    }
    MultiplyMatrix<T>(product, shape, left + left_at, right + right_at, row, output);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < shape.output[d]) break;
      index[d] = 0;
    }
  }
}

// output += beta * addend, which has up to the output's rank.
template <typename T>
void AddBroadcast(float beta, const ConstTensorView& addend, const Shape& output_shape,
                  std::span<T> output) {
  if (output.empty()) return;
  const size_t rank = output_shape.size();
  const int64_t columns = rank == 0 ? 1 : output_shape.back();
  Shape dims(rank - addend.shape.size(), 1);
  dims.insert(dims.end(), addend.shape.begin(), addend.shape.end());
  const int64_t column_step = rank > 0 && dims.back() != 1 ? 1 : 0;
  const std::span<const T> from = addend.As<T>();
  for (size_t row = 0; row * columns < output.size(); ++row) {
    int64_t rest = static_cast<int64_t>(row), at = 0, stride = rank > 0 ? dims.back() : 1;
    for (size_t d = rank > 0 ? rank - 1 : 0; d-- > 0;) {
      if (dims[d] != 1) at += rest % output_shape[d] * stride;
      rest /= output_shape[d];
      stride *= dims[d];
    }
    T* const to = output.data() + row * columns;
    for (int64_t n = 0; n < columns; ++n) {
      to[n] += static_cast<T>(beta * from[at + n * column_step]);
    }
  }
}

template <typename T>
void MultiplyAndAdd(const MatrixProduct& product, const ProductShape& shape,
                    std::span<const ConstTensorView> inputs, const TensorView& output) {
  Multiply<T>(product, shape, inputs[kLeft].As<T>().data(), inputs[kRight].As<T>().data(),
              output.As<T>().data());
  if (inputs.size() > kAddend && inputs[kAddend].present()) {
    AddBroadcast<T>(product.beta, inputs[kAddend], output.shape, output.As<T>());
  }
}

absl::Status Reference(const MatrixProduct& product, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape,
                         ReadProductShape(product, inputs[kLeft].shape, inputs[kRight].shape));
  VisitType(inputs[kLeft].dtype, [&]<typename T>() {
    // Shape inference has refused matrices of kBool.
    if constexpr (!std::is_same_v<T, bool>) MultiplyAndAdd<T>(product, shape, inputs, outputs[0]);
  });
  return absl::OkStatus();
}

absl::Status ReferenceMatMul(const graph::Node&, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  return Reference({}, inputs, outputs);
}

absl::Status ReferenceGemm(const graph::Node& node, std::span<const ConstTensorView> inputs,
                           std::span<TensorView> outputs) {
  return Reference(GemmProduct(node), inputs, outputs);
}

absl::StatusOr<bool> LowerMatMul(LoweringContext& context) {
  return LowerMatrixProduct(context, {});
}

absl::StatusOr<bool> LowerGemm(LoweringContext& context) {
  const MatrixProduct product = GemmProduct(context.node());
  return LowerMatrixProduct(context, product);
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "MatMul",
                .min_inputs = 2,
                .max_inputs = 2,  // fusion adds a third, a bias with an element per column
                .quant = graph::QuantRole::kCompute,
                .infer = InferMatMul,
                .reference = ReferenceMatMul},
     .lower = LowerMatMul},
    {.schema = {.type = "Gemm",
                .min_inputs = 2,
                .max_inputs = 3,
                .quant = graph::QuantRole::kCompute,
                .infer = InferGemm,
                .reference = ReferenceGemm},
     .lower = LowerGemm},
};

}  // namespace

std::span<const Operator> matmul() { return kOperators; }

}  // namespace octet::kernels::ops
