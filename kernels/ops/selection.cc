// Operators that pick elements by their values: TopK, OneHot, and NonZero and Compress of
// constants.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/axis_gather.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

absl::Status DataDependent(int input) {
  return absl::UnimplementedError(
      absl::StrCat("input ", input,
                   " depends on the request's data, but it decides the shape of "
                   "the result, which must be known before the model runs"));
}

// --- TopK ---

absl::StatusOr<std::vector<TensorType>> InferTopK(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", -1), context.rank(0)));
  std::vector<int64_t> k = {context.node().Int("k", -1)};  // opset 1
  if (context.has_input(1)) {
    OCTET_ASSIGN_OR_RETURN(k, IntList(context, 1, ""));
  }
  TensorType values = {.dtype = context.input(0).dtype, .shape = context.shape(0)};
  if (k.size() != 1 || k[0] < 0 || k[0] > values.shape[axis]) {
    return absl::InvalidArgumentError(
        absl::StrCat("k must be one number from 0 to ", values.shape[axis],
                     k.size() == 1 ? absl::StrCat(", not ", k[0]) : ""));
  }
  values.shape[axis] = k[0];
  return std::vector<TensorType>{values, {.dtype = DataType::kInt64, .shape = values.shape}};
}

// A strict order of positions: by value, equal values by position. Not-a-number is the largest.
template <typename T>
struct Before {
  const T* values;
  int64_t stride;
  bool largest;

  bool operator()(int64_t a, int64_t b) const {
    const T x = values[a * stride], y = values[b * stride];
    if (Less(x, y)) return !largest;
    if (Less(y, x)) return largest;
    return a < b;
  }
  static bool Less(T x, T y) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(x)) return false;
      if (std::isnan(y)) return true;
    }
    return x < y;
  }
};

template <typename T>
void FindTopK(const Before<T>& before, std::vector<int64_t>& order, int64_t k) {
  std::iota(order.begin(), order.end(), int64_t{0});
  if (k == 1) {
    order[0] = *std::min_element(order.begin(), order.end(), before);
  } else {
    std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  }
}

absl::Status ReferenceTopK(const graph::Node& node, std::span<const ConstTensorView> inputs,
                           std::span<TensorView> outputs) {
  const Shape& shape = inputs[0].shape;
  OCTET_ASSIGN_OR_RETURN(const int axis_or, NormalizeAxis(node.Int("axis", -1), inputs[0].rank()));
  const auto axis = static_cast<size_t>(axis_or);
  const TensorView& shaped = outputs[0].present() ? outputs[0] : outputs[1];
  const int64_t k = shaped.shape[axis], size = shape[axis];
  const int64_t outer = Product(shape, 0, axis);
  const int64_t inner = Product(shape, axis + 1, shape.size());
  const bool largest = node.Int("largest", 1) != 0;
  if (k == 0) return absl::OkStatus();
  std::vector<int64_t> order(static_cast<size_t>(size));
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const T* const from = inputs[0].As<T>().data();
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        const T* const values = from + o * size * inner + i;
        FindTopK<T>({values, inner, largest}, order, k);
        for (int64_t j = 0; j < k; ++j) {
          const int64_t to = (o * k + j) * inner + i;
          if (outputs[0].present()) outputs[0].As<T>()[to] = values[order[j] * inner];
          if (outputs.size() > 1 && outputs[1].present()) outputs[1].As<int64_t>()[to] = order[j];
        }
      }
    }
    return absl::OkStatus();
  });
}

// --- OneHot ---

constexpr int kIndices = 0, kDepth = 1, kValues = 2;

// Of an element of any type; out of every range if it is no integer's size.
template <typename T>
int64_t AsIndex(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    constexpr T kLimit = 9e18f;
    return value > -kLimit && value < kLimit ? static_cast<int64_t>(value) : INT64_MIN;
  } else {
    return static_cast<int64_t>(value);
  }
}

absl::StatusOr<std::vector<TensorType>> InferOneHot(const InferContext& context) {
  const Tensor* depth = context.constant(kDepth);
  if (depth == nullptr) return DataDependent(kDepth);
  if (depth->size() != 1 || context.shape(kValues) != Shape{2}) {
    return absl::InvalidArgumentError(
        absl::StrCat("depth of shape ", ToText(depth->shape()), " and values of shape ",
                     ToText(context.shape(kValues)), "; expected one and two elements"));
  }
  const int64_t size =
      VisitType(depth->dtype(), [&]<typename T>() { return AsIndex(depth->As<T>()[0]); });
  if (size < 0) return absl::InvalidArgumentError(absl::StrCat("depth ", size));
  Shape shape = context.shape(kIndices);
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", -1), context.rank(kIndices) + 1));
  shape.insert(shape.begin() + axis, size);
  return std::vector<TensorType>{{.dtype = context.input(kValues).dtype, .shape = shape}};
}

absl::Status ReferenceOneHot(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  const Shape& shape = outputs[0].shape;
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(node.Int("axis", -1), static_cast<int>(shape.size())));
  const int64_t depth = shape[axis];
  const int64_t inner = Product(shape, static_cast<size_t>(axis) + 1, shape.size());
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    const T off = inputs[kValues].As<T>()[0], on = inputs[kValues].As<T>()[1];
    const auto to = outputs[0].As<T>();
    std::fill(to.begin(), to.end(), off);
    return VisitType(inputs[kIndices].dtype, [&]<typename Index>() {
      int64_t row = 0, column = 0;  // of the indices seen as [outer, inner]
      for (const Index value : inputs[kIndices].As<Index>()) {
        const int64_t hot = WrapIndex(AsIndex(value), depth);
        if (hot >= 0) to[(row * depth + hot) * inner + column] = on;
        if (++column == inner) {
          column = 0;
          ++row;
        }
      }
      return absl::OkStatus();
    });
  });
}

// --- NonZero and Compress ---

std::vector<int64_t> TrueIndices(const ConstTensorView& view) {
  std::vector<int64_t> indices;
  VisitType(view.dtype, [&]<typename T>() {
    const auto values = view.As<T>();
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] != T{0}) indices.push_back(static_cast<int64_t>(i));
    }
  });
  return indices;
}

absl::StatusOr<std::vector<TensorType>> InferNonZero(const InferContext& context) {
  if (context.constant(0) == nullptr) return DataDependent(0);
  const auto count = static_cast<int64_t>(TrueIndices(context.constant(0)->view()).size());
  return std::vector<TensorType>{{.dtype = DataType::kInt64, .shape = {context.rank(0), count}}};
}

absl::Status ReferenceNonZero(const graph::Node&, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const Shape& shape = inputs[0].shape;
  const std::vector<int64_t> indices = TrueIndices(inputs[0]);
  const auto to = outputs[0].As<int64_t>();
  for (size_t i = 0; i < indices.size(); ++i) {
    int64_t rest = indices[i];
    for (size_t d = shape.size(); d-- > 0;) {
      to[d * indices.size() + i] = rest % shape[d];
      rest /= shape[d];
    }
  }
  return absl::OkStatus();
}

// The data as [outer, axis, inner]; without an axis it is one long axis.
Shape CompressedView(const graph::Node& node, const Shape& shape) {
  if (!node.Has("axis")) return {1, ElementCount(shape), 1};
  const int64_t given = node.Int("axis", 0);
  const auto axis =
      static_cast<size_t>(given < 0 ? given + static_cast<int64_t>(shape.size()) : given);
  return {Product(shape, 0, axis), shape[axis], Product(shape, axis + 1, shape.size())};
}

absl::StatusOr<std::vector<TensorType>> InferCompress(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 1, DataType::kBool));
  if (context.constant(1) == nullptr) return DataDependent(1);
  Shape shape = context.shape(0);
  int axis = 0;
  if (context.node().Has("axis")) {
    OCTET_ASSIGN_OR_RETURN(axis, NormalizeAxis(context.node().Int("axis", 0), context.rank(0)));
  } else {
    shape = {ElementCount(shape)};
  }
  OCTET_RETURN_IF_ERROR(CheckGatherShape(CompressedView(context.node(), context.shape(0))));
  const std::vector<int64_t> chosen = TrueIndices(context.constant(1)->view());
  if (!chosen.empty() && chosen.back() >= shape[axis]) {
    return IndexError(chosen.back(), shape[axis]);
  }
  shape[axis] = static_cast<int64_t>(chosen.size());
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

absl::Status ReferenceCompress(const graph::Node& node, std::span<const ConstTensorView> inputs,
                               std::span<TensorView> outputs) {
  const Shape view = CompressedView(node, inputs[0].shape);
  AxisGather(view, {WholeAxis(view[0]), TrueIndices(inputs[1]), WholeAxis(view[2])},
             ByteSize(inputs[0].dtype))
      .Run(inputs[0].data, outputs[0].data, nullptr);
  return absl::OkStatus();
}

constexpr Operator Selecting(absl::string_view type, int min_inputs, int max_inputs,
                             graph::InferFn infer, graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = min_inputs,
                     .max_inputs = max_inputs,
                     .infer = infer,
                     .reference = reference}};
}

constexpr Operator kOperators[] = {
    Selecting("TopK", 1, 2, InferTopK, ReferenceTopK),
    Selecting("OneHot", 3, 3, InferOneHot, ReferenceOneHot),
    Selecting("NonZero", 1, 1, InferNonZero, ReferenceNonZero),
    Selecting("Compress", 2, 2, InferCompress, ReferenceCompress),
};

}  // namespace

std::span<const Operator> selection() { return kOperators; }

}  // namespace octet::kernels::ops
