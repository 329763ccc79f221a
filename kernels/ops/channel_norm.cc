// Normalizations with one scale and shift per channel or group: BatchNormalization (inference),
// InstanceNormalization, GroupNormalization; and MeanVarianceNormalization, which has none.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/dispatch_gate.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/moments.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kScale = 1, kShift = 2, kMean = 3, kVariance = 4;

absl::Status CheckVectors(const InferContext& context, int64_t length) {
  for (int i = 0; i < context.input_count(); ++i) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, DataType::kFloat32));
    if (i == kInput || (context.rank(i) == 1 && context.shape(i)[0] == length)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "input ", i, " has shape ", ToText(context.shape(i)), ", expected [", length, "]"));
  }
  return absl::OkStatus();
}

// Elements of one channel of one sample.
int64_t PlaneSize(const Shape& shape) {
  return ElementCount(Shape(shape.begin() + std::min<size_t>(2, shape.size()), shape.end()));
}

float Epsilon(const graph::Node& node) { return node.Float("epsilon", 1e-5f); }

// --- BatchNormalization ---

absl::StatusOr<std::vector<TensorType>> InferBatch(const InferContext& context) {
  const graph::Node& node = context.node();
  const bool trains = node.Int("training_mode", 0) != 0 ||
                      std::any_of(node.outputs.begin() + 1, node.outputs.end(),
                                  [](graph::ValueId id) { return id != graph::kNoValue; });
  if (trains) return absl::UnimplementedError("batch normalization in training mode");
  if (node.Int("spatial", 1) == 0) {
    return absl::UnimplementedError("batch normalization with statistics per element");
  }
  if (context.rank(kInput) < 1) return absl::InvalidArgumentError("the input is a scalar");
  const int64_t channels = context.rank(kInput) > 1 ? context.shape(kInput)[1] : 1;
  OCTET_RETURN_IF_ERROR(CheckVectors(context, channels));
  std::vector<TensorType> types(5, TensorType{.shape = {channels}});  // opset 7 has five outputs
  types[0] = context.input(kInput);
  return types;
}

absl::Status ReferenceBatch(const graph::Node& node, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  const int64_t channels = x.rank() > 1 ? x.shape[1] : 1;
  const int64_t plane = PlaneSize(x.shape);
  for (int64_t i = 0; i < x.shape[0] * channels; ++i) {
    const auto at = [&](int input) { return inputs[input].As<float>()[i % channels]; };
    const float factor = at(kScale) / std::sqrt(at(kVariance) + Epsilon(node));
    ScaleAndShift(x.As<float>().subspan(i * plane, plane), factor, at(kShift) - at(kMean) * factor,
                  outputs[0].As<float>().data() + i * plane);
  }
  return absl::OkStatus();
}

// In the layout that the producer chose.
absl::StatusOr<bool> LowerBatch(LoweringContext& context) {
  using dnnl::memory;
  using dnnl::normalization_flags;
  constexpr size_t kMostDimensions = 5;
  const Shape& shape = context.input_shape(kInput);
  const std::optional<memory::desc> native = context.NativeDesc(kInput);
  if (!native || shape.size() < 2 || shape.size() > kMostDimensions) return false;
  const auto flags = normalization_flags::use_global_stats | normalization_flags::use_scale |
                     normalization_flags::use_shift;
  const dnnl::batch_normalization_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference, *native, *native, Epsilon(context.node()),
      flags, BaseAttributes(), /*allow_empty=*/true);
  if (!desc || IsReferenceImplementation(desc.impl_info_str(), false)) return false;
  const memory::desc vector({shape[1]}, memory::data_type::f32, memory::format_tag::a);
  PrimitiveCall call(context);
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(kInput, *native));
  call.Input(DNNL_ARG_SRC, source, *native);
  constexpr std::pair<int, int> kVectors[] = {{kScale, DNNL_ARG_SCALE},
                                              {kShift, DNNL_ARG_SHIFT},
                                              {kMean, DNNL_ARG_MEAN},
                                              {kVariance, DNNL_ARG_VARIANCE}};
  for (const auto& [input, argument] : kVectors) {
    OCTET_ASSIGN_OR_RETURN(const int buffer, context.Plain(input));
    call.Input(argument, buffer, vector);
  }
  call.Output(DNNL_ARG_DST, context.OutputInLayout(0, *native), *native);
  call.Emit(dnnl::batch_normalization_forward(desc), desc);
  return true;
}

// --- InstanceNormalization, GroupNormalization ---

struct Groups {
  int64_t count = 0;       // of a sample
  int64_t channels = 0;    // of a group
  bool per_group = false;  // one scale and shift per group, not per channel
};

absl::StatusOr<Groups> ReadGroups(const graph::Node& node, const Shape& shape) {
  if (shape.size() < 2) return absl::InvalidArgumentError("the input has no channels");
  if (node.op == "InstanceNormalization") return Groups{.count = shape[1], .channels = 1};
  const int64_t groups = node.Int("num_groups", 0);
  if (groups < 1 || shape[1] % groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shape[1], " channels do not split into ", groups, " groups"));
  }
  constexpr int kPerChannelSince = 21;
  return Groups{.count = groups,
                .channels = shape[1] / groups,
                .per_group = node.schema->since_version < kPerChannelSince};
}

absl::StatusOr<std::vector<TensorType>> InferGroups(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const Groups groups, ReadGroups(context.node(), context.shape(kInput)));
  OCTET_RETURN_IF_ERROR(
      CheckVectors(context, groups.per_group ? groups.count : context.shape(kInput)[1]));
  return SameAsInput(context);
}

absl::Status ReferenceGroups(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  OCTET_ASSIGN_OR_RETURN(const Groups groups, ReadGroups(node, x.shape));
  const int64_t plane = PlaneSize(x.shape);
  const int64_t group_size = groups.channels * plane;
  const std::span<const float> scale = inputs[kScale].As<float>();
  const std::span<const float> shift = inputs[kShift].As<float>();
  for (int64_t i = 0; i < x.shape[0] * groups.count; ++i) {
    const Moments moments = MomentsOf(x.As<float>().subspan(i * group_size, group_size));
    const float deviation = std::sqrt(moments.variance + Epsilon(node));
    for (int64_t c = 0; c < groups.channels; ++c) {
      const int64_t group = i % groups.count;
      const int64_t parameter = groups.per_group ? group : group * groups.channels + c;
      const float factor = scale[parameter] / deviation;
      const int64_t at = i * group_size + c * plane;
      ScaleAndShift(x.As<float>().subspan(at, plane), factor,
                    shift[parameter] - moments.mean * factor, outputs[0].As<float>().data() + at);
    }
  }
  return absl::OkStatus();
}

// --- MeanVarianceNormalization ---

absl::StatusOr<std::vector<int>> NormalizedAxes(const graph::Node& node, int rank) {
  std::vector<int64_t> axes = node.Ints("axes");
  if (!node.Has("axes")) axes = {0, 2, 3};
  return NormalizeAxes(axes, rank);
}

absl::StatusOr<std::vector<TensorType>> InferMeanVariance(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kInput, DataType::kFloat32));
  OCTET_RETURN_IF_ERROR(NormalizedAxes(context.node(), context.rank(kInput)).status());
  return SameAsInput(context);
}

// Calls visit(element, group) for every element, in order; elements that differ only along `axes`
// are of one group.
template <typename Visit>
void ForEachInGroups(const Shape& shape, const std::vector<int>& axes, const Visit& visit) {
  const size_t rank = shape.size();
  std::vector<int64_t> step(rank, 0), index(rank, 0);
  int64_t stride = 1;
  for (size_t d = rank; d-- > 0;) {
    if (std::find(axes.begin(), axes.end(), static_cast<int>(d)) != axes.end()) continue;
    step[d] = stride;
    stride *= shape[d];
  }
  int64_t group = 0;
  const int64_t size = ElementCount(shape);
  for (int64_t i = 0; i < size; ++i) {
    visit(static_cast<size_t>(i), static_cast<size_t>(group));
    for (size_t d = rank; d-- > 0;) {
      group += step[d];
      if (++index[d] < shape[d]) break;
      group -= step[d] * shape[d];
      index[d] = 0;
    }
  }
}

absl::Status ReferenceMeanVariance(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                   std::span<TensorView> outputs) {
  const ConstTensorView& x = inputs[kInput];
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> axes, NormalizedAxes(node, x.rank()));
  if (x.size() == 0) return absl::OkStatus();
  int64_t members = 1;
  for (const int axis : axes) members *= x.shape[axis];
  const auto count = static_cast<double>(members);
  const std::span<const float> from = x.As<float>();
  const std::span<float> to = outputs[0].As<float>();
  std::vector<double> mean(static_cast<size_t>(x.size() / members), 0), squares(mean.size(), 0);
  ForEachInGroups(x.shape, axes, [&](size_t i, size_t group) { mean[group] += from[i] / count; });
  ForEachInGroups(x.shape, axes, [&](size_t i, size_t group) {
    squares[group] += (from[i] - mean[group]) * (from[i] - mean[group]);
  });
  constexpr double kEpsilon = 1e-9;  // ONNX's, added to the deviation
  ForEachInGroups(x.shape, axes, [&](size_t i, size_t group) {
    to[i] = static_cast<float>((from[i] - mean[group]) /
                               (std::sqrt(squares[group] / count) + kEpsilon));
  });
  return absl::OkStatus();
}

constexpr Operator GroupRow(absl::string_view type, int since_version) {
  return {.schema = {.type = type,
                     .since_version = since_version,
                     .min_inputs = 3,
                     .max_inputs = 3,
                     .infer = InferGroups,
                     .reference = ReferenceGroups}};
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "BatchNormalization",
                .min_inputs = 5,
                .max_inputs = 5,
                .infer = InferBatch,
                .reference = ReferenceBatch},
     .lower = LowerBatch},
    GroupRow("InstanceNormalization", 1),
    GroupRow("GroupNormalization", 18),
    GroupRow("GroupNormalization", 21),
    {.schema = {.type = "MeanVarianceNormalization",
                .since_version = 9,
                .min_inputs = 1,
                .max_inputs = 1,
                .infer = InferMeanVariance,
                .reference = ReferenceMeanVariance}},
};

}  // namespace

std::span<const Operator> channel_norm() { return kOperators; }

}  // namespace octet::kernels::ops
