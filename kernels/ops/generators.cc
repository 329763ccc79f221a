// Operators that make tensors from numbers: ConstantOfShape, Range, EyeLike and the windows of
// signal processing. Nearly always folded before a plan is made.

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

// --- ConstantOfShape ---

absl::StatusOr<std::vector<TensorType>> InferConstantOfShape(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> dims, IntList(context, 0, ""));
  const Tensor* value = context.node().TensorAttribute("value");
  if (value != nullptr && value->size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("value must be one element, but has shape ", ToText(value->shape())));
  }
  return std::vector<TensorType>{{.dtype = value == nullptr ? DataType::kFloat32 : value->dtype(),
                                  .shape = Shape(dims.begin(), dims.end())}};
}

absl::Status ReferenceConstantOfShape(const graph::Node& node, std::span<const ConstTensorView>,
                                      std::span<TensorView> outputs) {
  const Tensor* value = node.TensorAttribute("value");
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    const auto to = outputs[0].As<T>();
    std::fill(to.begin(), to.end(), value == nullptr ? T{0} : value->As<T>()[0]);
    return absl::OkStatus();
  });
}

// --- Range ---

absl::Status TooLong() { return absl::InvalidArgumentError("the range is too long"); }

template <typename T>
absl::StatusOr<int64_t> RangeLength(T start, T limit, T delta) {
  if (delta == T{0}) return absl::InvalidArgumentError("delta is zero");
  if constexpr (std::is_floating_point_v<T>) {
    constexpr double kLongest = 1e15;
    const double count = std::ceil((double{limit} - double{start}) / double{delta});
    if (!(count <= kLongest)) return TooLong();  // or not a number
    return std::max<int64_t>(static_cast<int64_t>(std::max(count, 0.0)), 0);
  } else {
    const __int128 distance = static_cast<__int128>(limit) - static_cast<__int128>(start);
    const __int128 step = delta;
    if (distance == 0 || (distance > 0) != (step > 0)) return 0;
    const __int128 count = (distance + step - (step > 0 ? 1 : -1)) / step;
    if (count > (int64_t{1} << 60)) return TooLong();
    return static_cast<int64_t>(count);
  }
}

absl::StatusOr<std::vector<TensorType>> InferRange(const InferContext& context) {
  const DataType type = context.input(0).dtype;
  for (int i = 0; i < 3; ++i) {
    if (context.constant(i) == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat("input ", i,
                       " depends on the request's data, but it decides the shape of "
                       "the result, which must be known before the model runs"));
    }
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, type));
    if (context.constant(i)->size() != 1) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " must be one element"));
    }
  }
  OCTET_ASSIGN_OR_RETURN(
      const int64_t length, VisitType(type, [&]<typename T>() -> absl::StatusOr<int64_t> {
        return RangeLength(context.constant(0)->As<T>()[0], context.constant(1)->As<T>()[0],
                           context.constant(2)->As<T>()[0]);
      }));
  return std::vector<TensorType>{{.dtype = type, .shape = {length}}};
}

absl::Status ReferenceRange(const graph::Node&, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    // Integers cannot overflow before the limit, and in unsigned arithmetic not after it either.
    using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    const auto start = static_cast<Wide>(inputs[0].As<T>()[0]);
    const auto delta = static_cast<Wide>(inputs[2].As<T>()[0]);
    const auto to = outputs[0].As<T>();
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<T>(start + static_cast<Wide>(i) * delta);
    }
    return absl::OkStatus();
  });
}

// --- EyeLike ---

absl::StatusOr<std::vector<TensorType>> InferEyeLike(const InferContext& context) {
  DataType type = context.input(0).dtype;
  if (context.node().Has("dtype")) {
    OCTET_ASSIGN_OR_RETURN(type, ElementTypeOf(context.node().Int("dtype", 0)));
  }
  if (context.rank(0) != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a matrix, found shape ", ToText(context.shape(0))));
  }
  return std::vector<TensorType>{{.dtype = ComputeType(type), .shape = context.shape(0)}};
}

absl::Status ReferenceEyeLike(const graph::Node& node, std::span<const ConstTensorView>,
                              std::span<TensorView> outputs) {
  const int64_t rows = outputs[0].shape[0], columns = outputs[0].shape[1];
  const int64_t shift = std::clamp(node.Int("k", 0), -rows, columns);
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    const auto to = outputs[0].As<T>();
    std::fill(to.begin(), to.end(), T{0});
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t column = row + shift;
      if (column >= 0 && column < columns) to[row * columns + column] = T{1};
    }
    return absl::OkStatus();
  });
}

// --- windows ---

absl::StatusOr<std::vector<TensorType>> InferWindow(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> size, IntList(context, 0, ""));
  OCTET_ASSIGN_OR_RETURN(const DataType type,
                         ElementTypeOf(context.node().Int("output_datatype", 1)));
  if (size.size() != 1) return absl::InvalidArgumentError("the size must be one number");
  if (ComputeType(type) != DataType::kFloat32) {
    return absl::UnimplementedError(absl::StrCat("a window of ", Name(type)));
  }
  return std::vector<TensorType>{{.shape = {size[0]}}};
}

// A sum of cosines: a0 - a1 cos(x) + a2 cos(2x) with x from 0 to 2 pi.
struct CosineWindow {
  double a0, a1, a2;
};
constexpr CosineWindow kHann = {0.5, 0.5, 0.0};
constexpr CosineWindow kHamming = {25.0 / 46.0, 1.0 - 25.0 / 46.0, 0.0};
constexpr CosineWindow kBlackman = {0.42, 0.5, 0.08};

template <const CosineWindow& kWindow>
absl::Status ReferenceWindow(const graph::Node& node, std::span<const ConstTensorView>,
                             std::span<TensorView> outputs) {
  const auto to = outputs[0].As<float>();
  const double size = static_cast<double>(to.size());
  const double period = std::max(node.Int("periodic", 1) != 0 ? size : size - 1, 1.0);
  for (size_t i = 0; i < to.size(); ++i) {
    const double x = 2 * std::numbers::pi * static_cast<double>(i) / period;
    to[i] =
        static_cast<float>(kWindow.a0 - kWindow.a1 * std::cos(x) + kWindow.a2 * std::cos(2 * x));
  }
  return absl::OkStatus();
}

constexpr Operator Generator(absl::string_view type, int inputs, graph::InferFn infer,
                             graph::ReferenceFn reference, bool shape_only = false) {
  return {.schema = {.type = type,
                     .min_inputs = inputs,
                     .max_inputs = inputs,
                     .infer = infer,
                     .reference = reference,
                     .shape_only = shape_only}};
}

constexpr Operator kOperators[] = {
    Generator("ConstantOfShape", 1, InferConstantOfShape, ReferenceConstantOfShape),
    Generator("Range", 3, InferRange, ReferenceRange),
    Generator("EyeLike", 1, InferEyeLike, ReferenceEyeLike, /*shape_only=*/true),
    Generator("HannWindow", 1, InferWindow, ReferenceWindow<kHann>),
    Generator("HammingWindow", 1, InferWindow, ReferenceWindow<kHamming>),
    Generator("BlackmanWindow", 1, InferWindow, ReferenceWindow<kBlackman>),
};

}  // namespace

std::span<const Operator> generators() { return kOperators; }

}  // namespace octet::kernels::ops
