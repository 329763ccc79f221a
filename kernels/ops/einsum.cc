// Einsum: products of operands, summed over the labels that the output lacks. More than two
// operands are contracted pair by pair from the left, each pair summed over what nothing after it
// reads.

#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "kernels/einsum_equation.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> InferEinsum(const InferContext& context) {
  std::vector<Shape> shapes;
  const DataType type = context.has_input(0) ? context.input(0).dtype : DataType::kFloat32;
  if (type == DataType::kBool) return absl::InvalidArgumentError("operands of BOOL");
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, type));
    shapes.push_back(context.shape(i));
  }
  OCTET_ASSIGN_OR_RETURN(const Equation equation, ReadEquation(context.node(), shapes));
  Labelled left = equation.operands[0];
  for (size_t next = 1; next == 1 || next < equation.operands.size(); ++next) {
    const Labelled right = next < equation.operands.size() ? equation.operands[next] : Labelled();
    std::vector<int> labels = ResultLabels(equation, left, next);
    OCTET_RETURN_IF_ERROR(CheckCost(PlanContraction(equation, left, right, labels)));
    const Shape shape = equation.ShapeOf(labels);
    OCTET_RETURN_IF_ERROR(CheckedByteSize(type, shape).status());
    left = {.labels = std::move(labels), .strides = RowMajorStrides(shape)};
  }
  return std::vector<TensorType>{{.dtype = type, .shape = equation.ShapeOf(equation.output)}};
}

// Walks the axes as a counter does, the last one fastest.
class Odometer {
 public:
  explicit Odometer(std::span<const Axis> axes) : axes_(axes), index_(axes.size(), 0) {}

  int64_t left() const { return left_; }
  int64_t right() const { return right_; }

  // False after the last position, which leaves the odometer at its first one.
  bool Next() {
    for (size_t d = axes_.size(); d-- > 0;) {
      left_ += axes_[d].left;
      right_ += axes_[d].right;
      if (++index_[d] < axes_[d].size) return true;
      left_ -= axes_[d].left * axes_[d].size;
      right_ -= axes_[d].right * axes_[d].size;
      index_[d] = 0;
    }
    return false;
  }

 private:
  std::span<const Axis> axes_;
  std::vector<int64_t> index_;
  int64_t left_ = 0;
  int64_t right_ = 0;
};

// Integers wrap, for which they have to be unsigned.
template <typename T>
using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

template <typename T>
Sum<T> Dot(const T* left, const T* right, const Axis& axis) {
  constexpr int64_t kLanes = 8;  // independent sums, which the compiler puts into vectors
  std::array<Sum<T>, kLanes> sums = {};
  int64_t i = 0;
  if (axis.left == 1 && axis.right == 1) {
    for (; i + kLanes <= axis.size; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        sums[lane] += static_cast<Sum<T>>(left[i + lane]) * static_cast<Sum<T>>(right[i + lane]);
      }
    }
  }
  Sum<T> sum = 0;
  for (; i < axis.size; ++i) {
    sum += static_cast<Sum<T>>(left[i * axis.left]) * static_cast<Sum<T>>(right[i * axis.right]);
  }
  for (const Sum<T> lane : sums) sum += lane;
  return sum;
}

// row[n] += left[n] * right[n]
template <typename T>
void AddProducts(const T* left, const T* right, const Axis& axis, Sum<T>* row) {
  if (axis.left == 0 && axis.right == 1) {
    std::swap(left, right);
  }
  const int64_t a = std::max(axis.left, axis.right), b = std::min(axis.left, axis.right);
  if (axis.IsDense() && b == 0) {
    const auto factor = static_cast<Sum<T>>(*right);
    for (int64_t n = 0; n < axis.size; ++n) row[n] += static_cast<Sum<T>>(left[n]) * factor;
  } else if (a == 1 && b == 1) {
    for (int64_t n = 0; n < axis.size; ++n) {
      row[n] += static_cast<Sum<T>>(left[n]) * static_cast<Sum<T>>(right[n]);
    }
  } else {
    for (int64_t n = 0; n < axis.size; ++n) {
      row[n] +=
          static_cast<Sum<T>>(left[n * axis.left]) * static_cast<Sum<T>>(right[n * axis.right]);
    }
  }
}

// Sums of the result one after the other.
template <typename T>
void ContractByElement(const Contraction& plan, const T* left, const T* right, T* result) {
  const bool has_sum = !plan.summed.empty();
  const Axis inner = has_sum ? plan.summed.back() : Axis();
  Odometer kept(plan.kept);
  Odometer outer(std::span(plan.summed).first(plan.summed.size() - (has_sum ? 1 : 0)));
  do {
    Sum<T> sum = 0;
    do {
      sum += Dot(left + kept.left() + outer.left(), right + kept.right() + outer.right(), inner);
    } while (outer.Next());
    *result++ = static_cast<T>(sum);
  } while (kept.Next());
}

// Sums along the result's last dimension side by side, some at a time.
template <typename T>
void ContractByRow(const Contraction& plan, const T* left, const T* right, T* result) {
  constexpr int64_t kBlock = 512;
  std::array<Sum<T>, kBlock> row;
  const Axis inner = plan.kept.back();
  Odometer kept(std::span(plan.kept).first(plan.kept.size() - 1));
  Odometer summed(plan.summed);
  do {
    for (int64_t begin = 0; begin < inner.size; begin += kBlock) {
      const Axis block{std::min(kBlock, inner.size - begin), inner.left, inner.right};
      const T* const left_row = left + kept.left() + begin * inner.left;
      const T* const right_row = right + kept.right() + begin * inner.right;
      row.fill(0);
      do {
        AddProducts(left_row + summed.left(), right_row + summed.right(), block, row.data());
      } while (summed.Next());
      for (int64_t n = 0; n < block.size; ++n) *result++ = static_cast<T>(row[n]);
    }
  } while (kept.Next());
}

template <typename T>
void Contract(const Contraction& plan, const T* left, const T* right, std::span<T> result) {
  const auto empty = [](const Axis& axis) { return axis.size == 0; };
  if (result.empty() || std::any_of(plan.summed.begin(), plan.summed.end(), empty)) {
    std::fill(result.begin(), result.end(), T{0});
    return;
  }
  const bool dense_dot =
      !plan.summed.empty() && plan.summed.back().left == 1 && plan.summed.back().right == 1;
  if (!plan.kept.empty() && !dense_dot && (plan.summed.empty() || plan.kept.back().IsDense())) {
    ContractByRow(plan, left, right, result.data());
  } else {
    ContractByElement(plan, left, right, result.data());
  }
}

template <typename T>
absl::Status Evaluate(const Equation& equation, std::span<const ConstTensorView> inputs,
                      const TensorView& output) {
  const T one{1};
  Labelled left = equation.operands[0];
  const T* left_data = inputs[0].As<T>().data();
  Tensor between;
  for (size_t next = 1; next == 1 || next < inputs.size(); ++next) {
    const bool unary = inputs.size() == 1;
    const Labelled right = unary ? Labelled() : equation.operands[next];
    const T* const right_data = unary ? &one : inputs[next].As<T>().data();
    std::vector<int> labels = ResultLabels(equation, left, next);
    const Contraction plan = PlanContraction(equation, left, right, labels);
    if (next + 1 >= inputs.size()) {
      Contract<T>(plan, left_data, right_data, output.As<T>());
      break;
    }
    const Shape shape = equation.ShapeOf(labels);
    OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(output.dtype, shape));
    Contract<T>(plan, left_data, right_data, result.MutableAs<T>());
    between = std::move(result);
    left_data = between.As<T>().data();
    left = {.labels = std::move(labels), .strides = RowMajorStrides(shape)};
  }
  return absl::OkStatus();
}

absl::Status ReferenceEinsum(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  std::vector<Shape> shapes;
  for (const ConstTensorView& input : inputs) shapes.push_back(input.shape);
  OCTET_ASSIGN_OR_RETURN(const Equation equation, ReadEquation(node, shapes));
  absl::Status status;
  VisitType(outputs[0].dtype, [&]<typename T>() {
    // Shape inference has refused operands of kBool.
    if constexpr (!std::is_same_v<T, bool>) status = Evaluate<T>(equation, inputs, outputs[0]);
  });
  return status;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Einsum",
                .since_version = 12,
                .min_inputs = 1,
                .max_inputs = graph::OpSchema::kVariadic,
                .infer = InferEinsum,
                .reference = ReferenceEinsum}},
};

}  // namespace

std::span<const Operator> einsum() { return kOperators; }

}  // namespace octet::kernels::ops
