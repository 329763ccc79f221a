// Operators of ONNX Runtime (domain com.microsoft) that its optimizers write into model files. They
// have shapes here and nothing else: graph/passes/expand_fusions.cc puts ONNX operators in their
// place before anything runs.

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/matrix_product.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

using Types = absl::StatusOr<std::vector<TensorType>>;

absl::Status ExpectRank(const InferContext& context, int input, int rank) {
  if (context.has_input(input) && context.rank(input) == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "input ", input, " must have ", rank, " dimensions",
      context.has_input(input) ? absl::StrCat(", its shape is ", ToText(context.shape(input)))
                               : std::string(", it is missing")));
}

Types InferFusedMatMul(const InferContext& context) {
  const graph::Node& node = context.node();
  const MatrixProduct product = {.transpose_left = node.Int("transA", 0) != 0,
                                 .transpose_right = node.Int("transB", 0) != 0};
  if (context.rank(0) < 2 || context.rank(1) < 2) {
    return absl::InvalidArgumentError("expected two matrices or batches of them");
  }
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape,
                         ReadProductShape(product, context.shape(0), context.shape(1)));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = shape.output}};
}

Types InferFloats(const InferContext& context) {
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
  }
  return SameAsInput(context);
}

Types InferNormalization(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(InferFloats(context).status());
  const Shape& shape = context.shape(0);
  if (shape.empty()) return absl::InvalidArgumentError("a scalar cannot be normalized");
  Shape reduced = shape;
  reduced.back() = 1;
  return std::vector<TensorType>{
      {.shape = shape}, {.shape = reduced}, {.shape = reduced}, {.shape = shape}};
}

absl::Status Require(const InferContext& context, std::initializer_list<int> inputs) {
  for (const int i : inputs) {
    if (!context.has_input(i)) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is missing"));
    }
  }
  return absl::OkStatus();
}

Types InferEmbedding(const InferContext& context) {
  constexpr int kIds = 0, kWords = 2, kPositions = 3, kMask = 7;
  OCTET_RETURN_IF_ERROR(ExpectRank(context, kIds, 2));
  OCTET_RETURN_IF_ERROR(ExpectRank(context, kWords, 2));
  OCTET_RETURN_IF_ERROR(ExpectRank(context, kPositions, 2));
  OCTET_RETURN_IF_ERROR(Require(context, {5, 6}));
  if (context.has_input(kMask)) OCTET_RETURN_IF_ERROR(ExpectRank(context, kMask, 2));
  const Shape& ids = context.shape(kIds);
  const Shape shape = {ids[0], ids[1], context.shape(kWords)[1]};
  return std::vector<TensorType>{
      {.shape = shape}, {.dtype = DataType::kInt32, .shape = {ids[0]}}, {.shape = shape}};
}

absl::Status CheckHeads(const graph::Node& node, int64_t width) {
  const int64_t heads = node.Int("num_heads", 0);
  if (heads > 0 && width % heads == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a width of ", width, " cannot be divided among ", heads, " heads"));
}

Types InferAttention(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectRank(context, 0, 3));
  OCTET_RETURN_IF_ERROR(ExpectRank(context, 1, 2));
  const int64_t columns = context.shape(1)[1];
  std::vector<int64_t> sizes = context.node().Ints("qkv_hidden_sizes");
  if (sizes.empty()) sizes.assign(3, columns / 3);
  const bool positive = std::all_of(
      sizes.begin(), sizes.end(), [columns](int64_t size) { return size > 0 && size <= columns; });
  if (sizes.size() != 3 || !positive || sizes[0] + sizes[1] + sizes[2] != columns) {
    return absl::InvalidArgumentError(
        absl::StrCat("the weights have ", columns, " columns, which are not three projections"));
  }
  for (const int64_t size : sizes) OCTET_RETURN_IF_ERROR(CheckHeads(context.node(), size));
  const Shape& x = context.shape(0);
  return std::vector<TensorType>{{.shape = {x[0], x[1], sizes[2]}}, {}};
}

Types InferMultiHeadAttention(const InferContext& context) {
  for (int i = 0; i < 3; ++i) {
    if (context.has_input(i) && context.rank(i) == 3) continue;
    return absl::UnimplementedError(absl::StrCat(
        "input ", i, " must be [batch, length, width]; packed forms are not supported"));
  }
  OCTET_RETURN_IF_ERROR(CheckHeads(context.node(), context.shape(0)[2]));
  OCTET_RETURN_IF_ERROR(CheckHeads(context.node(), context.shape(2)[2]));
  const Shape& query = context.shape(0);
  return std::vector<TensorType>{{.shape = {query[0], query[1], context.shape(2)[2]}}, {}, {}, {}};
}

Types InferQuantizedEmbedding(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(Require(context, {8, 9, 11, 12}));
  return InferEmbedding(context);
}

Types InferFusedConv(const InferContext& context) {
  const graph::OpSchema* const conv = Registry().FindNewest("Conv");
  return conv->infer(context);
}

Types InferFusedGemm(const InferContext& context) {
  return Registry().FindNewest("Gemm")->infer(context);
}

Types InferQuantizedProduct(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const ProductShape shape,
                         ReadProductShape({}, context.shape(0), context.shape(1)));
  if (context.rank(0) < 2 || context.rank(1) < 2) {
    return absl::InvalidArgumentError("expected two matrices or batches of them");
  }
  return std::vector<TensorType>{{.shape = shape.output}};
}

constexpr Operator Row(absl::string_view type, int min_inputs, int max_inputs,
                       graph::InferFn infer) {
  return {
      .schema = {.type = type, .min_inputs = min_inputs, .max_inputs = max_inputs, .infer = infer}};
}

constexpr std::array kOperators = {
    Row("com.microsoft.Attention", 2, 7, InferAttention),
    Row("com.microsoft.BiasGelu", 2, 2, InferFloats),
    Row("com.microsoft.DynamicQuantizeMatMul", 3, 5, InferQuantizedProduct),
    Row("com.microsoft.EmbedLayerNormalization", 1, 9, InferEmbedding),
    Row("com.microsoft.FastGelu", 1, 2, InferFloats),
    Row("com.microsoft.FusedConv", 2, 4, InferFusedConv),
    Row("com.microsoft.FusedGemm", 2, 3, InferFusedGemm),
    Row("com.microsoft.FusedMatMul", 2, 2, InferFusedMatMul),
    Row("com.microsoft.Gelu", 1, 1, InferFloats),
    Row("com.microsoft.MatMulIntegerToFloat", 4, 7, InferQuantizedProduct),
    Row("com.microsoft.MultiHeadAttention", 3, 10, InferMultiHeadAttention),
    Row("com.microsoft.QAttention", 5, 9, InferAttention),
    Row("com.microsoft.QEmbedLayerNormalization", 1, 18, InferQuantizedEmbedding),
    Row("com.microsoft.QuickGelu", 1, 1, InferFloats),
    Row("com.microsoft.SkipLayerNormalization", 3, 5, InferNormalization),
    Row("com.microsoft.SkipSimplifiedLayerNormalization", 3, 4, InferNormalization),
    // ONNX Runtime writes this one into ONNX's own domain.
    Row("SimplifiedLayerNormalization", 2, 2, InferNormalization),
};

}  // namespace

std::span<const Operator> microsoft() { return kOperators; }

}  // namespace octet::kernels::ops
