// Operators that work along one axis: ArgMax, ArgMin, CumSum, CumProd, Hardmax, LpNormalization.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

// A tensor as outer x axis x inner.
struct AxisView {
  int64_t outer = 1;
  int64_t size = 1;
  int64_t inner = 1;
};

AxisView ViewAlong(const Shape& shape, int axis) {
  const auto product = [](auto first, auto last) {
    return std::accumulate(first, last, int64_t{1}, std::multiplies<>());
  };
  return {.outer = product(shape.begin(), shape.begin() + axis),
          .size = shape[axis],
          .inner = product(shape.begin() + axis + 1, shape.end())};
}

// The axis of a node whose shapes were checked before.
AxisView ViewOf(const graph::Node& node, const Shape& shape, int64_t default_axis) {
  const int64_t axis = node.Int("axis", default_axis);
  return ViewAlong(shape, *NormalizeAxis(axis, static_cast<int>(shape.size())));
}

// --- ArgMax, ArgMin ---

absl::StatusOr<std::vector<TensorType>> InferArg(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", 0), context.rank(0)));
  TensorType result{.dtype = DataType::kInt64, .shape = context.shape(0)};
  if (result.shape[axis] == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", axis, " has no elements, in ", ToText(context.shape(0))));
  }
  result.shape[axis] = 1;
  if (context.node().Int("keepdims", 1) == 0) result.shape.erase(result.shape.begin() + axis);
  return std::vector<TensorType>{std::move(result)};
}

template <bool kLargest, bool kLast, typename T>
void FindExtremes(const AxisView& view, const T* from, int64_t* to) {
  const auto wins = [](T challenger, T holder) {
    if (kLast && challenger == holder) return true;
    return kLargest ? challenger > holder : challenger < holder;
  };
  if (view.inner == 1) {  // rows: the best so far stays in a register
    for (int64_t o = 0; o < view.outer; ++o, from += view.size) {
      int64_t best = 0;
      for (int64_t a = 1; a < view.size; ++a) {
        if (wins(from[a], from[best])) best = a;
      }
      to[o] = best;
    }
    return;
  }
  std::vector<T> best(static_cast<size_t>(view.inner));
  for (int64_t o = 0; o < view.outer; ++o) {
    std::copy_n(from, view.inner, best.begin());
    std::fill_n(to, view.inner, 0);
    for (int64_t a = 1; a < view.size; ++a) {
      const T* const row = from + a * view.inner;
      for (int64_t i = 0; i < view.inner; ++i) {
        if (!wins(row[i], best[i])) continue;
        best[i] = row[i];
        to[i] = a;
      }
    }
    from += view.size * view.inner;
    to += view.inner;
  }
}

template <bool kLargest>
absl::Status Arg(const graph::Node& node, std::span<const ConstTensorView> inputs,
                 std::span<TensorView> outputs) {
  const AxisView view = ViewOf(node, inputs[0].shape, 0);
  const bool last = node.Int("select_last_index", 0) != 0;
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    if constexpr (!std::is_same_v<T, bool>) {
      const T* const from = inputs[0].As<T>().data();
      int64_t* const to = outputs[0].As<int64_t>().data();
      if (last)
        FindExtremes<kLargest, true>(view, from, to);
      else
        FindExtremes<kLargest, false>(view, from, to);
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<TensorType>> InferArgNumbers(const InferContext& context) {
  if (context.input(0).dtype == DataType::kBool) {
    return absl::InvalidArgumentError("input 0 must be numbers, not BOOL");
  }
  return InferArg(context);
}

// --- CumSum, CumProd ---

absl::StatusOr<int64_t> ReadAxis(const ConstTensorView& axis) {
  if (axis.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the axis must be one number, not ", ToText(axis.shape)));
  }
  if (axis.dtype == DataType::kInt64) return axis.As<int64_t>()[0];
  if (axis.dtype == DataType::kInt32) return axis.As<int32_t>()[0];
  return absl::InvalidArgumentError("the axis must be INT32 or INT64");
}

absl::StatusOr<std::vector<TensorType>> InferCumulative(const InferContext& context) {
  if (context.input(0).dtype == DataType::kBool) {
    return absl::InvalidArgumentError("input 0 must be numbers, not BOOL");
  }
  const DataType type = context.input(1).dtype;
  if ((type != DataType::kInt64 && type != DataType::kInt32) ||
      ElementCount(context.shape(1)) != 1) {
    return absl::InvalidArgumentError("input 1, the axis, must be one INT32 or INT64");
  }
  if (const Tensor* const axis = context.constant(1)) {
    OCTET_ASSIGN_OR_RETURN(const int64_t value, ReadAxis(axis->view()));
    OCTET_RETURN_IF_ERROR(NormalizeAxis(value, context.rank(0)).status());
  }
  return SameAsInput(context);
}

template <bool kProduct, typename T>
T Combine(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return kProduct ? a * b : a + b;
  const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  return static_cast<T>(kProduct ? x * y : x + y);
}

// One slab of size x inner, forward or backward; rows are combined with the row before.
template <bool kProduct, typename T>
void Scan(const AxisView& view, bool exclusive, bool reverse, const T* from, T* to) {
  const auto row = [&](int64_t k) { return (reverse ? view.size - 1 - k : k) * view.inner; };
  for (int64_t k = 0; k < view.size; ++k) {
    T* const result = to + row(k);
    if (k == 0) {
      if (exclusive)
        std::fill_n(result, view.inner, kProduct ? T{1} : T{0});
      else
        std::copy_n(from + row(0), view.inner, result);
      continue;
    }
    const T* const before = to + row(k - 1);
    const T* const next = from + row(exclusive ? k - 1 : k);
    for (int64_t i = 0; i < view.inner; ++i) result[i] = Combine<kProduct>(before[i], next[i]);
  }
}

template <bool kProduct>
absl::Status Cumulative(const graph::Node& node, std::span<const ConstTensorView> inputs,
                        std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const int64_t given, ReadAxis(inputs[1]));
  OCTET_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(given, inputs[0].rank()));
  const AxisView view = ViewAlong(inputs[0].shape, axis);
  const bool exclusive = node.Int("exclusive", 0) != 0, reverse = node.Int("reverse", 0) != 0;
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    for (int64_t o = 0; o < view.outer; ++o) {
      const int64_t offset = o * view.size * view.inner;
      Scan<kProduct>(view, exclusive, reverse, inputs[0].As<T>().data() + offset,
                     outputs[0].As<T>().data() + offset);
    }
    return absl::OkStatus();
  });
}

// --- Hardmax ---

// One where the largest element of each group is first found, zero elsewhere.
void MarkLargest(const AxisView& view, const float* from, float* to) {
  std::fill_n(to, view.outer * view.size * view.inner, 0.0f);
  std::vector<int64_t> positions(static_cast<size_t>(view.outer * view.inner));
  FindExtremes<true, false>(view, from, positions.data());
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      to[(o * view.size + positions[o * view.inner + i]) * view.inner + i] = 1;
    }
  }
}

template <int kDefaultAxis>
absl::StatusOr<std::vector<TensorType>> InferAlongAxis(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  const int64_t axis = context.node().Int("axis", kDefaultAxis);
  OCTET_RETURN_IF_ERROR(NormalizeAxis(axis, context.rank(0)).status());
  return SameAsInput(context);
}

absl::Status Hardmax(const graph::Node& node, std::span<const ConstTensorView> inputs,
                     std::span<TensorView> outputs) {
  if (inputs[0].size() == 0) return absl::OkStatus();
  MarkLargest(ViewOf(node, inputs[0].shape, -1), inputs[0].As<float>().data(),
              outputs[0].As<float>().data());
  return absl::OkStatus();
}

// Before opset 13 the input is seen as a matrix: the axis and all behind it are one row.
absl::Status HardmaxOfRows(const graph::Node& node, std::span<const ConstTensorView> inputs,
                           std::span<TensorView> outputs) {
  if (inputs[0].size() == 0) return absl::OkStatus();
  AxisView view = ViewOf(node, inputs[0].shape, 1);
  view.size *= view.inner;
  view.inner = 1;
  MarkLargest(view, inputs[0].As<float>().data(), outputs[0].As<float>().data());
  return absl::OkStatus();
}

// --- LpNormalization ---

absl::StatusOr<std::vector<TensorType>> InferNormalization(const InferContext& context) {
  const int64_t p = context.node().Int("p", 2);
  if (p != 1 && p != 2)
    return absl::InvalidArgumentError(absl::StrCat("p must be 1 or 2, not ", p));
  return InferAlongAxis<-1>(context);
}

absl::Status Normalize(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const AxisView view = ViewOf(node, inputs[0].shape, -1);
  const bool squares = node.Int("p", 2) == 2;
  std::vector<double> norms(static_cast<size_t>(view.inner));
  for (int64_t o = 0; o < view.outer; ++o) {
    const float* const from = inputs[0].As<float>().data() + o * view.size * view.inner;
    float* const to = outputs[0].As<float>().data() + o * view.size * view.inner;
    std::ranges::fill(norms, 0.0);
    for (int64_t k = 0; k < view.size * view.inner; k += view.inner) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const double x = from[k + i];
        norms[i] += squares ? x * x : std::abs(x);
      }
    }
    for (double& norm : norms) {
      if (squares) norm = std::sqrt(norm);
    }
    for (int64_t k = 0; k < view.size * view.inner; k += view.inner) {
      for (int64_t i = 0; i < view.inner; ++i) {
        to[k + i] = norms[i] == 0 ? 0.0f : static_cast<float>(from[k + i] / norms[i]);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator Row(absl::string_view type, int since_version, int inputs, graph::InferFn infer,
                       graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .since_version = since_version,
                     .min_inputs = inputs,
                     .max_inputs = inputs,
                     .infer = infer,
                     .reference = reference}};
}

constexpr std::array kOperators = {
    Row("ArgMax", 1, 1, InferArgNumbers, Arg<true>),
    Row("ArgMin", 1, 1, InferArgNumbers, Arg<false>),
    Row("CumSum", 11, 2, InferCumulative, Cumulative<false>),
    Row("CumProd", 26, 2, InferCumulative, Cumulative<true>),
    Row("Hardmax", 1, 1, InferAlongAxis<1>, HardmaxOfRows),
    Row("Hardmax", 13, 1, InferAlongAxis<-1>, Hardmax),
    Row("LpNormalization", 1, 1, InferNormalization, Normalize),
};

}  // namespace

std::span<const Operator> along_axis() { return kOperators; }

}  // namespace octet::kernels::ops
