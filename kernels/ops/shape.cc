// Shape and Size: known as soon as shapes are, whatever the elements.

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

struct Bounds {
  int64_t begin, end;
};

// Dimensions [start, end), counted from the back if negative, moved to the edge if out of range.
Bounds ReadBounds(const graph::Node& node, int64_t rank) {
  const auto clamp = [rank](int64_t bound) {
    if (bound < 0) bound = bound < -rank ? 0 : bound + rank;
    return std::min(bound, rank);
  };
  const int64_t begin = clamp(node.Int("start", 0));
  const int64_t end = clamp(node.Int("end", rank));
  return {begin, std::max(begin, end)};
}

absl::StatusOr<std::vector<TensorType>> InferShape(const InferContext& context) {
  const Bounds bounds = ReadBounds(context.node(), context.rank(0));
  return std::vector<TensorType>{{.dtype = DataType::kInt64, .shape = {bounds.end - bounds.begin}}};
}

absl::Status ReferenceShape(const graph::Node& node, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  const Bounds bounds = ReadBounds(node, inputs[0].rank());
  std::copy(inputs[0].shape.begin() + bounds.begin, inputs[0].shape.begin() + bounds.end,
            outputs[0].As<int64_t>().begin());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferSize(const InferContext&) {
  return std::vector<TensorType>{{.dtype = DataType::kInt64}};
}

absl::Status ReferenceSize(const graph::Node&, std::span<const ConstTensorView> inputs,
                           std::span<TensorView> outputs) {
  outputs[0].As<int64_t>()[0] = inputs[0].size();
  return absl::OkStatus();
}

constexpr Operator OfShape(absl::string_view type, graph::InferFn infer,
                           graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = infer,
                     .reference = reference,
                     .shape_only = true}};
}

constexpr Operator kOperators[] = {
    OfShape("Shape", InferShape, ReferenceShape),
    OfShape("Size", InferSize, ReferenceSize),
};

}  // namespace

std::span<const Operator> shape() { return kOperators; }

}  // namespace octet::kernels::ops
