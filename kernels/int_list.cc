#include "kernels/int_list.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::kernels {

absl::StatusOr<std::vector<int64_t>> IntList(const graph::InferContext& context, int index,
                                             absl::string_view attribute) {
  if (!context.has_input(index)) return context.node().Ints(attribute);
  if (context.rank(index) > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input ", index, " must be a list, but has shape ", ToText(context.shape(index))));
  }
  return context.ConstantInts(index);
}

std::vector<int64_t> IntList(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             size_t index, absl::string_view attribute) {
  if (index < inputs.size() && inputs[index].present()) return Ints(inputs[index]);
  return node.Ints(attribute);
}

std::vector<int64_t> Ints(const ConstTensorView& view) {
  if (view.dtype != DataType::kInt64 && view.dtype != DataType::kInt32) return {};
  return VisitIndices(
      view, [](auto values) { return std::vector<int64_t>(values.begin(), values.end()); });
}

absl::Status ExpectIndices(const graph::InferContext& context, int input) {
  if (!context.has_input(input)) {
    return absl::InvalidArgumentError(absl::StrCat("input ", input, " is missing"));
  }
  const DataType type = context.input(input).dtype;
  if (type == DataType::kInt64 || type == DataType::kInt32) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("input ", input, " must be INT64 or INT32, not ", Name(type)));
}

absl::Status IndexError(int64_t index, int64_t size) {
  return absl::InvalidArgumentError(
      absl::StrCat("index ", index, " is out of range for an axis of size ", size));
}

}  // namespace octet::kernels
