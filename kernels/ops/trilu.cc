// Trilu and ReverseSequence: rows of a tensor, partly cleared or in another order.

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> InferTrilu(const InferContext& context) {
  if (context.rank(0) < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected matrices, found shape ", ToText(context.shape(0))));
  }
  if (context.has_input(1)) {
    OCTET_RETURN_IF_ERROR(ExpectIndices(context, 1));
    if (ElementCount(context.shape(1)) != 1) {
      return absl::InvalidArgumentError("k must be one number");
    }
  }
  return SameAsInput(context);
}

absl::Status ReferenceTrilu(const graph::Node& node, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  const Shape& shape = inputs[0].shape;
  const int64_t rows = shape[shape.size() - 2], columns = shape.back();
  const int64_t matrices = Product(shape, 0, shape.size() - 2);
  const bool upper = node.Int("upper", 1) != 0;
  int64_t diagonal = 0;
  if (inputs.size() > 1 && inputs[1].present()) {
    diagonal = std::clamp(Ints(inputs[1])[0], -rows - 1, columns + 1);
  }
  const size_t element = ByteSize(inputs[0].dtype);
  const size_t row_bytes = static_cast<size_t>(columns) * element;
  const std::byte* from = inputs[0].data;
  std::byte* to = outputs[0].data;
  if (outputs[0].size() == 0) return absl::OkStatus();
  for (int64_t i = 0; i < matrices * rows; ++i) {
    // Columns before `edge` are below the diagonal, which belongs to both triangles.
    const int64_t above = i % rows + diagonal + (upper ? 0 : 1);
    const auto edge = static_cast<size_t>(std::clamp<int64_t>(above, 0, columns)) * element;
    const size_t kept = upper ? edge : 0;
    std::memset(to, 0, row_bytes);
    std::memcpy(to + kept, from + kept, upper ? row_bytes - edge : edge);
    from += row_bytes;
    to += row_bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferReverseSequence(const InferContext& context) {
  const int64_t batch = context.node().Int("batch_axis", 1);
  const int64_t time = context.node().Int("time_axis", 0);
  if (context.rank(0) < 2 || batch < 0 || batch > 1 || time != 1 - batch) {
    return absl::InvalidArgumentError(absl::StrCat("batch_axis ", batch, " and time_axis ", time,
                                                   " of shape ", ToText(context.shape(0)),
                                                   "; they must be 0 and 1 or 1 and 0"));
  }
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, 1));
  if (context.shape(1) != Shape{context.shape(0)[batch]}) {
    return absl::InvalidArgumentError(absl::StrCat("sequence_lens of shape ",
                                                   ToText(context.shape(1)), " for data of shape ",
                                                   ToText(context.shape(0))));
  }
  return SameAsInput(context);
}

absl::Status ReferenceReverseSequence(const graph::Node& node,
                                      std::span<const ConstTensorView> inputs,
                                      std::span<TensorView> outputs) {
  const Shape& shape = inputs[0].shape;
  const auto batch_axis = static_cast<size_t>(node.Int("batch_axis", 1));
  const std::vector<int64_t> lengths = Ints(inputs[1]);
  const int64_t batches = shape[batch_axis], times = shape[1 - batch_axis];
  const size_t row =
      static_cast<size_t>(Product(shape, 2, shape.size())) * ByteSize(inputs[0].dtype);
  const auto offset = [&](int64_t batch, int64_t time) {
    return static_cast<size_t>(batch_axis == 0 ? batch * times + time : time * batches + batch) *
           row;
  };
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t length = lengths[b];
    if (length < 0 || length > times) {
      return absl::InvalidArgumentError(
          absl::StrCat("sequence length ", length, ", expected 0 to ", times));
    }
    for (int64_t t = 0; t < times; ++t) {
      const int64_t source = t < length ? length - 1 - t : t;
      std::memcpy(outputs[0].data + offset(b, t), inputs[0].data + offset(b, source), row);
    }
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Trilu",
                .min_inputs = 1,
                .max_inputs = 2,
                .infer = InferTrilu,
                .reference = ReferenceTrilu}},
    {.schema = {.type = "ReverseSequence",
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = InferReverseSequence,
                .reference = ReferenceReverseSequence}},
};

}  // namespace

std::span<const Operator> trilu() { return kOperators; }

}  // namespace octet::kernels::ops
