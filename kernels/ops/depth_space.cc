// DepthToSpace and SpaceToDepth: channels become pixels and back.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

struct Form {
  int64_t block = 0;
  bool column_row_depth = false;  // which of block and channels varies faster in the depth
};

absl::StatusOr<Form> ReadForm(const InferContext& context) {
  constexpr int64_t kLargestBlock = 1 << 15;
  const graph::Node& node = context.node();
  const std::string mode = node.String("mode", "DCR");
  const Form form = {.block = node.Int("blocksize", 0), .column_row_depth = mode == "CRD"};
  if (context.rank(0) != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected 4 dimensions, found ", ToText(context.shape(0))));
  }
  if (mode != "DCR" && mode != "CRD") {
    return absl::InvalidArgumentError(absl::StrCat("mode must be DCR or CRD, not ", mode));
  }
  if (form.block < 1 || form.block > kLargestBlock) {
    return absl::InvalidArgumentError(absl::StrCat("blocksize ", form.block));
  }
  return form;
}

std::vector<TensorType> OfShape(const InferContext& context, Shape shape) {
  return {{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

absl::StatusOr<std::vector<TensorType>> InferDepthToSpace(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const Form form, ReadForm(context));
  const Shape& x = context.shape(0);
  Shape shape = {x[0], x[1] / (form.block * form.block), 0, 0};
  if (x[1] % (form.block * form.block) != 0 ||
      __builtin_mul_overflow(x[2], form.block, &shape[2]) ||
      __builtin_mul_overflow(x[3], form.block, &shape[3])) {
    return absl::InvalidArgumentError(
        absl::StrCat("blocksize ", form.block, " does not fit shape ", ToText(x)));
  }
  return OfShape(context, std::move(shape));
}

absl::StatusOr<std::vector<TensorType>> InferSpaceToDepth(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const Form form, ReadForm(context));
  const Shape& x = context.shape(0);
  Shape shape = {x[0], 0, x[2] / form.block, x[3] / form.block};
  if (x[2] % form.block != 0 || x[3] % form.block != 0 ||
      __builtin_mul_overflow(x[1], form.block * form.block, &shape[1])) {
    return absl::InvalidArgumentError(
        absl::StrCat("blocksize ", form.block, " does not fit shape ", ToText(x)));
  }
  return OfShape(context, std::move(shape));
}

// Strides of the dimensions [n, channel, row, block row, column, block column] in the tensor with
// many channels (`deep`) and in the one with many pixels (`wide`).
struct Strides {
  Shape dims, deep, wide;
};

Strides StridesOf(const graph::Node& node, const Shape& deep_shape) {
  const int64_t block = node.Int("blocksize", 1);
  const int64_t channels = deep_shape[1] / (block * block);
  const int64_t rows = deep_shape[2], columns = deep_shape[3], plane = rows * columns;
  const bool column_row_depth = node.String("mode", "DCR") == "CRD";
  const int64_t channel = plane * (column_row_depth ? block * block : 1);
  const int64_t block_column = plane * (column_row_depth ? 1 : channels);
  const int64_t wide_row = columns * block;
  return {.dims = {deep_shape[0], channels, rows, block, columns, block},
          .deep = {deep_shape[1] * plane, channel, columns, block_column * block, 1, block_column},
          .wide = {deep_shape[1] * plane, wide_row * rows * block, wide_row * block, wide_row,
                   block, 1}};
}

absl::Status ReferenceDepthToSpace(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                   std::span<TensorView> outputs) {
  const Strides strides = StridesOf(node, inputs[0].shape);
  CopyStrided(ByteSize(inputs[0].dtype), strides.dims, {outputs[0].data, strides.wide},
              {inputs[0].data, strides.deep});
  return absl::OkStatus();
}

absl::Status ReferenceSpaceToDepth(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                   std::span<TensorView> outputs) {
  const Strides strides = StridesOf(node, outputs[0].shape);
  CopyStrided(ByteSize(inputs[0].dtype), strides.dims, {outputs[0].data, strides.deep},
              {inputs[0].data, strides.wide});
  return absl::OkStatus();
}

constexpr Operator Rearrange(absl::string_view type, graph::InferFn infer,
                             graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .quant = graph::QuantRole::kCarry,
                     .infer = infer,
                     .reference = reference},
          .lower = LowerCarry};
}

constexpr Operator kOperators[] = {
    Rearrange("DepthToSpace", InferDepthToSpace, ReferenceDepthToSpace),
    Rearrange("SpaceToDepth", InferSpaceToDepth, ReferenceSpaceToDepth),
};

}  // namespace

std::span<const Operator> depth_space() { return kOperators; }

}  // namespace octet::kernels::ops
