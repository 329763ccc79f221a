// Expand and Tile: repeated elements, read with a stride of zero.

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> InferExpand(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> wanted, IntList(context, 1, ""));
  for (const int64_t dim : wanted) {
    if (dim < 0) return absl::InvalidArgumentError(absl::StrCat("dimension ", dim));
  }
  OCTET_ASSIGN_OR_RETURN(Shape shape,
                         BroadcastShapes(context.shape(0), Shape(wanted.begin(), wanted.end())));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

absl::Status ReferenceExpand(const graph::Node&, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  const Shape& from = inputs[0].shape;
  const Shape& to = outputs[0].shape;
  const Shape dense = RowMajorStrides(from);
  Shape strides(to.size(), 0);
  const size_t added = to.size() - from.size();
  for (size_t d = 0; d < from.size(); ++d) strides[added + d] = from[d] == 1 ? 0 : dense[d];
  CopyStrided(ByteSize(inputs[0].dtype), to, {outputs[0].data, RowMajorStrides(to)},
              {inputs[0].data, strides});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferTile(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> repeats, IntList(context, 1, ""));
  if (static_cast<int>(repeats.size()) != context.rank(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(repeats.size(), " repeats for ", context.rank(0), " dimensions"));
  }
  Shape shape = context.shape(0);
  for (size_t d = 0; d < shape.size(); ++d) {
    if (repeats[d] < 0 || __builtin_mul_overflow(shape[d], repeats[d], &shape[d])) {
      return absl::InvalidArgumentError(absl::StrCat("cannot repeat a dimension of ",
                                                     context.shape(0)[d], " elements ", repeats[d],
                                                     " times"));
    }
  }
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

// Each dimension is copied as two: the repeats, and what is repeated.
absl::Status ReferenceTile(const graph::Node&, std::span<const ConstTensorView> inputs,
                           std::span<TensorView> outputs) {
  const Shape& from = inputs[0].shape;
  if (outputs[0].size() == 0) return absl::OkStatus();
  const Shape from_dense = RowMajorStrides(from);
  const Shape to_dense = RowMajorStrides(outputs[0].shape);
  Shape dims, to_strides, from_strides;
  for (size_t d = 0; d < from.size(); ++d) {
    dims.insert(dims.end(), {outputs[0].shape[d] / from[d], from[d]});
    to_strides.insert(to_strides.end(), {from[d] * to_dense[d], to_dense[d]});
    from_strides.insert(from_strides.end(), {0, from_dense[d]});
  }
  CopyStrided(ByteSize(inputs[0].dtype), dims, {outputs[0].data, to_strides},
              {inputs[0].data, from_strides});
  return absl::OkStatus();
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const bool carries = context.input_type(0).quant == context.output_type(0).quant;
  if (carries && context.input_shape(0) == context.output_shape(0)) {
    OCTET_RETURN_IF_ERROR(context.AliasPlain(0, 0));
    return true;
  }
  return LowerCarry(context);
}

constexpr Operator Repeat(absl::string_view type, graph::InferFn infer,
                          graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = 2,
                     .max_inputs = 2,
                     .quant = graph::QuantRole::kCarry,
                     .infer = infer,
                     .reference = reference},
          .lower = Lower};
}

constexpr Operator kOperators[] = {
    Repeat("Expand", InferExpand, ReferenceExpand),
    Repeat("Tile", InferTile, ReferenceTile),
};

}  // namespace

std::span<const Operator> expand() { return kOperators; }

}  // namespace octet::kernels::ops
