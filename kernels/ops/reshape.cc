// Operators that give the same elements another shape. They cost nothing in a plan: the output is
// the input's buffer.

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

absl::Status Copy(const graph::Node&, std::span<const ConstTensorView> inputs,
                  std::span<TensorView> outputs) {
  if (outputs[0].byte_size() > 0) {
    std::memcpy(outputs[0].data, inputs[0].data, outputs[0].byte_size());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> LowerAlias(LoweringContext& context) {
  OCTET_RETURN_IF_ERROR(context.AliasPlain(0, 0));
  return true;
}

std::vector<TensorType> WithShape(const InferContext& context, Shape shape) {
  return {{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

absl::StatusOr<std::vector<TensorType>> InferReshape(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> wanted, context.ConstantInts(1));
  const Shape& from = context.shape(0);
  const bool zero_is_zero = context.node().Int("allowzero", 0) != 0;
  Shape shape;
  int64_t known = 1;
  std::optional<size_t> open;
  for (size_t i = 0; i < wanted.size(); ++i) {
    int64_t dim = wanted[i];
    if (dim == 0 && !zero_is_zero) {
      if (i >= from.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("dimension ", i, " is to be copied, but the input has ", from.size()));
      }
      dim = from[i];
    }
    if (dim == -1 && open) return absl::InvalidArgumentError("two dimensions are -1");
    if (dim < -1) return absl::InvalidArgumentError(absl::StrCat("dimension ", dim));
    if (dim == -1) {
      open = i;
    } else if (__builtin_mul_overflow(known, dim, &known)) {
      return absl::InvalidArgumentError("the new shape is too large");
    }
    shape.push_back(dim);
  }
  const int64_t size = ElementCount(from);
  if (open) shape[*open] = known == 0 ? 0 : size / known;
  if (open ? shape[*open] * known != size : known != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot reshape ", ToText(from), " to ", ToText(shape)));
  }
  return WithShape(context, std::move(shape));
}

absl::StatusOr<std::vector<TensorType>> InferFlatten(const InferContext& context) {
  const Shape& from = context.shape(0);
  const int rank = context.rank(0);
  int64_t axis = context.node().Int("axis", 1);
  if (axis < -rank || axis > rank) {
    return absl::InvalidArgumentError(absl::StrCat("axis ", axis, " of ", rank, " dimensions"));
  }
  if (axis < 0) axis += rank;
  const int64_t rows =
      std::accumulate(from.begin(), from.begin() + axis, int64_t{1}, std::multiplies<>());
  const int64_t columns =
      std::accumulate(from.begin() + axis, from.end(), int64_t{1}, std::multiplies<>());
  return WithShape(context, {rows, columns});
}

// Squeeze and Unsqueeze have their axes as an attribute up to opset 12, as an input since.
absl::StatusOr<std::vector<int64_t>> Axes(const InferContext& context) {
  if (context.has_input(1)) return context.ConstantInts(1);
  return context.node().Ints("axes");
}

absl::StatusOr<std::vector<TensorType>> InferSqueeze(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> given, Axes(context));
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> axes, NormalizeAxes(given, context.rank(0)));
  Shape shape;
  for (int d = 0; d < context.rank(0); ++d) {
    const int64_t dim = context.shape(0)[d];
    const bool named = std::find(axes.begin(), axes.end(), d) != axes.end();
    if (named && dim != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("dimension ", d, " of ", ToText(context.shape(0)), " is not 1"));
    }
    if (given.empty() ? dim != 1 : !named) shape.push_back(dim);
  }
  return WithShape(context, std::move(shape));
}

absl::StatusOr<std::vector<TensorType>> InferUnsqueeze(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> given, Axes(context));
  const int rank = context.rank(0) + static_cast<int>(given.size());
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> axes, NormalizeAxes(given, rank));
  Shape shape;
  auto next = context.shape(0).begin();
  for (int d = 0; d < rank; ++d) {
    const bool added = std::find(axes.begin(), axes.end(), d) != axes.end();
    shape.push_back(added ? 1 : *next++);
  }
  return WithShape(context, std::move(shape));
}

constexpr Operator Alias(absl::string_view type, int max_inputs, graph::InferFn infer) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = max_inputs,
                     .quant = graph::QuantRole::kCarry,
                     .infer = infer,
                     .reference = Copy},
          .lower = LowerAlias};
}

constexpr Operator kOperators[] = {
    Alias("Reshape", 2, InferReshape), Alias("Flatten", 1, InferFlatten),
    Alias("Squeeze", 2, InferSqueeze), Alias("Unsqueeze", 2, InferUnsqueeze),
    Alias("Identity", 1, SameAsInput),
};

}  // namespace

std::span<const Operator> reshape() { return kOperators; }

}  // namespace octet::kernels::ops
