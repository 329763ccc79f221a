#include "kernels/integer_operand.h"

#include "absl/strings/str_cat.h"

namespace octet::kernels {

absl::Status ExpectCodes(const InferContext& context, int input) {
  if (!context.has_input(input)) return absl::OkStatus();
  const DataType type = context.input(input).dtype;
  if (type == DataType::kInt8 || type == DataType::kUint8) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("input ", input, " must be INT8 or UINT8, not ", Name(type)));
}

absl::Status ExpectCount(const InferContext& context, int input, int64_t count) {
  if (!context.has_input(input)) return absl::OkStatus();
  const int64_t size = ElementCount(context.shape(input));
  if (size == 1 || size == count) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("input ", input, " has ", size, " elements, expected one or ", count));
}

std::vector<int32_t> ZeroPoints(std::span<const ConstTensorView> inputs, size_t input,
                                int64_t count) {
  std::vector<int32_t> result(static_cast<size_t>(count), 0);
  if (input >= inputs.size() || !inputs[input].present()) return result;
  VisitType(inputs[input].dtype, [&]<typename T>() {
    const auto from = inputs[input].As<T>();
    for (size_t i = 0; i < result.size(); ++i) {
      result[i] = static_cast<int32_t>(from[from.size() == 1 ? 0 : i]);
    }
  });
  return result;
}

std::vector<float> Scales(const ConstTensorView& scales, int64_t count) {
  const auto from = scales.As<float>();
  std::vector<float> result(static_cast<size_t>(count));
  for (size_t i = 0; i < result.size(); ++i) result[i] = from[from.size() == 1 ? 0 : i];
  return result;
}

std::vector<int16_t> Centered(const ConstTensorView& codes, const std::vector<int32_t>& zero_points,
                              int64_t run) {
  std::vector<int16_t> result(static_cast<size_t>(codes.size()));
  const auto length = static_cast<size_t>(std::max<int64_t>(run, 1));
  VisitType(codes.dtype, [&]<typename T>() {
    const auto from = codes.As<T>();
    size_t channel = 0;
    for (size_t begin = 0; begin < result.size(); begin += length) {
      const int32_t zero_point = zero_points[channel];
      channel = channel + 1 == zero_points.size() ? 0 : channel + 1;
      for (size_t i = begin; i < begin + length; ++i) {
        result[i] = static_cast<int16_t>(static_cast<int32_t>(from[i]) - zero_point);
      }
    }
  });
  return result;
}

}  // namespace octet::kernels
