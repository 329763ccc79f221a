#include "kernels/infer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::kernels {

absl::StatusOr<std::vector<TensorType>> SameAsInput(const InferContext& context) {
  return std::vector<TensorType>{context.input(0)};
}

absl::StatusOr<std::vector<TensorType>> BroadcastInputs(const InferContext& context) {
  TensorType result = context.input(0);
  for (int i = 1; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, result.dtype));
    OCTET_ASSIGN_OR_RETURN(result.shape, BroadcastShapes(result.shape, context.shape(i)));
  }
  return std::vector<TensorType>{std::move(result)};
}

absl::StatusOr<std::vector<TensorType>> BroadcastToBool(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(std::vector<TensorType> types, BroadcastInputs(context));
  types[0].dtype = DataType::kBool;
  return types;
}

absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < result.size(); ++i) {
    const int64_t from_a = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t from_b = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("shapes ", ToText(a), " and ", ToText(b), " do not broadcast"));
    }
    result[result.size() - 1 - i] = from_a == 1 ? from_b : from_a;
  }
  return result;
}

absl::StatusOr<int> NormalizeAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", axis, " is out of range for ", rank, " dimensions"));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

absl::StatusOr<std::vector<int>> NormalizeAxes(std::span<const int64_t> axes, int rank) {
  std::vector<int> result;
  for (const int64_t axis : axes) {
    OCTET_ASSIGN_OR_RETURN(const int normalized, NormalizeAxis(axis, rank));
    if (std::find(result.begin(), result.end(), normalized) != result.end()) {
      return absl::InvalidArgumentError(absl::StrCat("axis ", axis, " is given twice"));
    }
    result.push_back(normalized);
  }
  return result;
}

absl::StatusOr<DataType> ElementTypeOf(int64_t onnx_number) {
  switch (onnx_number) {
    case 1:
      return DataType::kFloat32;
    case 2:
      return DataType::kUint8;
    case 3:
      return DataType::kInt8;
    case 4:
      return DataType::kUint16;
    case 5:
      return DataType::kInt16;
    case 6:
      return DataType::kInt32;
    case 7:
      return DataType::kInt64;
    case 9:
      return DataType::kBool;
    case 10:
      return DataType::kFloat16;
    case 11:
      return DataType::kFloat64;
    case 12:
      return DataType::kUint32;
    case 13:
      return DataType::kUint64;
    case 16:
      return DataType::kBFloat16;
    default:
      return absl::UnimplementedError(
          absl::StrCat("element type number ", onnx_number, " is not supported"));
  }
}

bool IsBFloat16Weight(const InferContext& context, int input) {
  return context.has_input(input) && context.input(input).dtype == DataType::kBFloat16 &&
         context.input(0).dtype == DataType::kFloat32;
}

absl::Status ExpectType(const InferContext& context, int input, DataType type) {
  if (!context.has_input(input) || context.input(input).dtype == type) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input ", input, " must be ", Name(type), ", not ",
                                                 Name(context.input(input).dtype)));
}

}  // namespace octet::kernels
