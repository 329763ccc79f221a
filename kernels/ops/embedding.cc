// octet.Embedding: rows of a table of 8-bit integers with a scale for each row, as float32; a
// Gather of the float table that they stand for. Indices come with the request and are checked.
//
//   inputs   0 codes (int8, [rows, columns]), 1 scales (float32, [rows]), 2 indices
//   output   float32 of the indices' shape and [columns]

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kCodes = 0, kScales = 1, kIndices = 2;

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kCodes, DataType::kInt8));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kScales, DataType::kFloat32));
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kIndices));
  const Shape& codes = context.shape(kCodes);
  if (codes.size() != 2 || context.shape(kScales) != Shape{codes[0]}) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a matrix and a scale for each row, got ", ToText(codes), " and ",
                     ToText(context.shape(kScales))));
  }
  Shape shape = context.shape(kIndices);
  shape.push_back(codes[1]);
  return std::vector<TensorType>{{.dtype = DataType::kFloat32, .shape = std::move(shape)}};
}

absl::Status Reference(const graph::Node&, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const int64_t rows = inputs[kCodes].shape[0];
  const auto columns = static_cast<size_t>(inputs[kCodes].shape[1]);
  const auto codes = inputs[kCodes].As<int8_t>();
  const auto scales = inputs[kScales].As<float>();
  float* to = outputs[0].As<float>().data();
  return VisitIndices(inputs[kIndices], [&](auto indices) -> absl::Status {
    for (const auto index : indices) {
      const int64_t row = WrapIndex(index, rows);
      if (row < 0) [[unlikely]]
        return IndexError(index, rows);
      const float scale = scales[static_cast<size_t>(row)];
      const int8_t* const from = codes.data() + static_cast<size_t>(row) * columns;
      for (size_t i = 0; i < columns; ++i) to[i] = scale * static_cast<float>(from[i]);
      to += columns;
    }
    return absl::OkStatus();
  });
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "octet.Embedding",
                .min_inputs = 3,
                .max_inputs = 3,
                .infer = Infer,
                .reference = Reference}},
};

}  // namespace

std::span<const Operator> embedding() { return kOperators; }

}  // namespace octet::kernels::ops
