// Reductions over some dimensions. The axes are an attribute in older opsets, an input in newer.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/strings/match.h"
#include "base/status.h"
#include "kernels/broadcast.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"
#include "kernels/vector_math.h"

namespace octet::kernels::ops {
namespace {

// For each dimension whether it is reduced. Without axes all are, or none if the node says so.
absl::StatusOr<std::vector<bool>> ReducedDims(const graph::Node& node,
                                              std::span<const int64_t> axes, int rank) {
  const bool all = axes.empty() && node.Int("noop_with_empty_axes", 0) == 0;
  std::vector<bool> reduced(static_cast<size_t>(rank), all);
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> normalized, NormalizeAxes(axes, rank));
  for (const int axis : normalized) reduced[static_cast<size_t>(axis)] = true;
  return reduced;
}

template <bool kBoolAllowed>
absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  TensorType result = context.input(0);
  if (!kBoolAllowed && result.dtype == DataType::kBool) {
    return absl::InvalidArgumentError("input 0 must be numbers, not BOOL");
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, IntList(context, 1, "axes"));
  OCTET_ASSIGN_OR_RETURN(const std::vector<bool> reduced,
                         ReducedDims(context.node(), axes, context.rank(0)));
  const bool keep = context.node().Int("keepdims", 1) != 0;
  result.shape.clear();
  for (size_t d = 0; d < reduced.size(); ++d) {
    if (!reduced[d]) result.shape.push_back(context.shape(0)[d]);
    if (reduced[d] && keep) result.shape.push_back(1);
  }
  return std::vector<TensorType>{std::move(result)};
}

// The input's elements in memory order, and where each one goes.
struct Reduction {
  BroadcastPlan plan;  // operands: the input, the result
  int64_t count = 1;   // elements that become one
};

Reduction PlanReduction(const graph::Node& node, std::span<const ConstTensorView> inputs) {
  const Shape& shape = inputs[0].shape;
  const std::vector<int64_t> axes = IntList(node, inputs, 1, "axes");
  const std::vector<bool> reduced = *ReducedDims(node, axes, inputs[0].rank());
  Reduction reduction;
  Shape strides(shape.size(), 0);
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (reduced[d]) {
      reduction.count *= shape[d];
    } else {
      strides[d] = stride;
      stride *= shape[d];
    }
  }
  reduction.plan = PlanBroadcast(shape, {BroadcastStrides(shape, shape), strides});
  return reduction;
}

// Takes every element of `from` into the accumulator of its result: step(accumulator, x), or
// row(accumulator, rest of the row) where a whole row goes into one.
template <typename T, typename Accumulator, typename Step, typename Row>
void Accumulate(const Reduction& reduction, const T* from, Accumulator* accumulators, Step step,
                Row row) {
  const bool rows_reduce = reduction.plan.strides[1].back() == 0;
  ForEachRow(reduction.plan, [&](const int64_t* offsets, int64_t count) {
    const T* const x = from + offsets[0];
    Accumulator* const to = accumulators + offsets[1];
    if (rows_reduce) {
      row(*to, std::span<const T>(x, static_cast<size_t>(count)));
    } else {
      for (int64_t i = 0; i < count; ++i) step(to[i], x[i]);
    }
  });
}

template <typename T, typename Accumulator, typename Step>
void Accumulate(const Reduction& reduction, const T* from, Accumulator* accumulators, Step step) {
  Accumulate(reduction, from, accumulators, step,
             [&](Accumulator& accumulator, std::span<const T> row) {
               Accumulator local = accumulator;
               for (const T x : row) step(local, x);
               accumulator = local;
             });
}

// What is summed for each element.
enum class Term { kValue, kAbsolute, kSquare };

template <Term kTerm, typename A>
A TermOf(A x) {
  if constexpr (kTerm == Term::kSquare) return x * x;
  if constexpr (kTerm == Term::kAbsolute && std::is_floating_point_v<A>) return std::abs(x);
  // Integers are summed as unsigned numbers, which wrap; their sign is in the top bit.
  if constexpr (kTerm == Term::kAbsolute && !std::is_floating_point_v<A>) {
    return static_cast<int64_t>(x) < 0 ? 0 - x : x;
  }
  return x;
}

// Long rows are summed in pieces whose partial sums are added in double.
template <Term kTerm>
double SumOfRow(std::span<const float> row) {
  constexpr size_t kPiece = 1024;
  double sum = 0;
  while (!row.empty()) {
    const std::span<const float> piece = row.first(std::min(row.size(), kPiece));
    sum += kTerm == Term::kSquare     ? SumOfSquares(piece)
           : kTerm == Term::kAbsolute ? SumOfAbsolutes(piece)
                                      : SumOf(piece);
    row = row.subspan(piece.size());
  }
  return sum;
}

// finish(sum, count) gives the result from the sum, which is a double for floats and an unsigned
// number that wrapped for integers.
template <Term kTerm, typename Finish>
absl::Status Sum(const graph::Node& node, std::span<const ConstTensorView> inputs,
                 const TensorView& output, Finish finish) {
  const Reduction reduction = PlanReduction(node, inputs);
  return VisitType(output.dtype, [&]<typename T>() {
    using A = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    const T* const from = inputs[0].As<T>().data();
    std::vector<A> sums(static_cast<size_t>(output.size()), A{0});
    const auto step = [](A& sum, T x) { sum += TermOf<kTerm>(static_cast<A>(x)); };
    if constexpr (std::is_same_v<T, float>) {
      Accumulate(reduction, from, sums.data(), step,
                 [](double& sum, std::span<const float> row) { sum += SumOfRow<kTerm>(row); });
    } else {
      Accumulate(reduction, from, sums.data(), step);
    }
    const auto to = output.As<T>();
    for (size_t i = 0; i < to.size(); ++i) {
      if constexpr (std::is_signed_v<T> && !std::is_floating_point_v<T>) {
        to[i] = static_cast<T>(finish(static_cast<int64_t>(sums[i]), reduction.count));
      } else {
        to[i] = static_cast<T>(finish(sums[i], reduction.count));
      }
    }
    return absl::OkStatus();
  });
}

constexpr auto kAsItIs = [](auto sum, int64_t) { return sum; };
constexpr auto kMean = [](auto sum, int64_t count) {
  using A = decltype(sum);
  if constexpr (!std::is_floating_point_v<A>) {
    if (count == 0) return A{0};
  }
  return static_cast<A>(sum / static_cast<A>(count));
};
constexpr auto kRoot = [](auto sum, int64_t) { return std::sqrt(static_cast<double>(sum)); };
constexpr auto kLogarithm = [](auto sum, int64_t) { return std::log(static_cast<double>(sum)); };

template <Term kTerm, auto kFinish>
absl::Status SumReference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                          std::span<TensorView> outputs) {
  return Sum<kTerm>(node, inputs, outputs[0], kFinish);
}

absl::Status Product(const graph::Node& node, std::span<const ConstTensorView> inputs,
                     std::span<TensorView> outputs) {
  const Reduction reduction = PlanReduction(node, inputs);
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    using A = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    std::vector<A> products(static_cast<size_t>(outputs[0].size()), A{1});
    Accumulate(reduction, inputs[0].As<T>().data(), products.data(),
               [](A& product, T x) { product *= static_cast<A>(x); });
    std::transform(products.begin(), products.end(), outputs[0].As<T>().begin(),
                   [](A product) { return static_cast<T>(product); });
    return absl::OkStatus();
  });
}

// The largest or smallest element of each group; NaN if there is one. Nothing at all gives what
// every element would replace.
template <bool kLargest, typename T>
void Extremes(const Reduction& reduction, const T* from, std::span<T> to) {
  using Limits = std::numeric_limits<T>;
  T start = kLargest ? Limits::lowest() : Limits::max();
  if constexpr (Limits::has_infinity) start = kLargest ? -Limits::infinity() : Limits::infinity();
  std::ranges::fill(to, start);
  Accumulate(reduction, from, to.data(), [](T& extreme, T x) {
    if (kLargest ? x > extreme : x < extreme) extreme = x;
    // No comparison with NaN holds: from now on it stays.
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(x)) extreme = x;
    }
  });
}

template <bool kLargest>
absl::Status Extreme(const graph::Node& node, std::span<const ConstTensorView> inputs,
                     std::span<TensorView> outputs) {
  const Reduction reduction = PlanReduction(node, inputs);
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    Extremes<kLargest>(reduction, inputs[0].As<T>().data(), outputs[0].As<T>());
    return absl::OkStatus();
  });
}

// log(sum(exp(x))) = m + log(sum(exp(x - m))) with the largest element m: nothing overflows.
absl::Status LogSumExp(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const Reduction reduction = PlanReduction(node, inputs);
  return VisitType(outputs[0].dtype, [&]<typename T>() {
    struct Group {
      double largest = 0;
      double sum = 0;
    };
    const T* const from = inputs[0].As<T>().data();
    const auto to = outputs[0].As<T>();
    Extremes<true>(reduction, from, to);
    std::vector<Group> groups(to.size());
    for (size_t i = 0; i < to.size(); ++i) {
      const auto largest = static_cast<double>(to[i]);
      groups[i].largest = std::isfinite(largest) ? largest : 0;
    }
    Accumulate(reduction, from, groups.data(), [](Group& group, T x) {
      group.sum += std::exp(static_cast<double>(x) - group.largest);
    });
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<T>(groups[i].largest + std::log(groups[i].sum));
    }
    return absl::OkStatus();
  });
}

// The mean over all pixels of images that lie channels-last or in blocks: average pooling, which
// reads that layout. False for everything else.
absl::StatusOr<bool> LowerMean(LoweringContext& context) {
  using dnnl::memory;
  const Shape& shape = context.input_shape(0);
  const std::optional<memory::desc> native = context.NativeDesc(0);
  if (!native || context.input_type(0).dtype != DataType::kFloat32 || shape.size() < 3 ||
      shape.size() > 5 || *native == *PlainDesc(context.input_type(0))) {
    return false;
  }
  std::vector<int64_t> axes = context.node().Ints("axes");
  if (context.has_input(1)) {
    if (!context.is_constant(1) || !context.constant(1).has_bytes()) return false;
    axes = Ints(context.constant(1).view());
  }
  std::vector<bool> pixels(shape.size(), true);
  pixels[0] = pixels[1] = false;
  OCTET_ASSIGN_OR_RETURN(const std::vector<bool> reduced,
                         ReducedDims(context.node(), axes, static_cast<int>(shape.size())));
  if (reduced != pixels) return false;

  const memory::dims window(shape.begin() + 2, shape.end()), zeros(window.size(), 0);
  memory::dims result_dims(shape.size(), 1);
  result_dims[0] = shape[0];
  result_dims[1] = shape[1];
  const memory::desc any(result_dims, memory::data_type::f32, memory::format_tag::any);
  const dnnl::pooling_forward::primitive_desc pooling(
      Engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::pooling_avg_exclude_padding,
      *native, any, window, window, zeros, zeros, zeros, BaseAttributes());
  if (absl::StartsWith(pooling.impl_info_str(), "ref")) return false;
  const memory::desc pooled = pooling.dst_desc();
  const bool keep = context.output_shape(0).size() == shape.size();
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, *native));
  const int buffer =
      keep ? context.OutputInLayout(0, pooled) : context.Temporary(pooled.get_size());
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_SRC, source, *native);
  call.Output(DNNL_ARG_DST, buffer, pooled);
  call.Emit(dnnl::pooling_forward(pooling), pooling);
  if (keep) return true;
  const memory::desc plain = *PlainDesc({.shape = {result_dims.begin(), result_dims.end()}});
  const dnnl::reorder::primitive_desc reorder(Engine(), pooled, Engine(), plain, BaseAttributes());
  PrimitiveCall unblock(context);
  unblock.Input(DNNL_ARG_FROM, buffer, pooled);
  unblock.Output(DNNL_ARG_TO, context.PlainOutput(0), plain);
  unblock.Emit(dnnl::reorder(reorder), reorder);
  return true;
}

constexpr Operator Row(absl::string_view type, graph::ReferenceFn reference,
                       graph::InferFn infer = Infer<false>, LowerFn lower = nullptr) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 2,
                     .infer = infer,
                     .reference = reference},
          .lower = lower};
}

constexpr std::array kOperators = {
    Row("ReduceSum", SumReference<Term::kValue, kAsItIs>),
    Row("ReduceMean", SumReference<Term::kValue, kMean>, Infer<false>, LowerMean),
    Row("ReduceSumSquare", SumReference<Term::kSquare, kAsItIs>),
    Row("ReduceL1", SumReference<Term::kAbsolute, kAsItIs>),
    Row("ReduceL2", SumReference<Term::kSquare, kRoot>),
    Row("ReduceLogSum", SumReference<Term::kValue, kLogarithm>),
    Row("ReduceLogSumExp", LogSumExp),
    Row("ReduceProd", Product),
    Row("ReduceMax", Extreme<true>, Infer<true>),
    Row("ReduceMin", Extreme<false>, Infer<true>),
};

}  // namespace

std::span<const Operator> reduce() { return kOperators; }

}  // namespace octet::kernels::ops
