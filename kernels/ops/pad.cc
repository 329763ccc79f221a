// Pad and CenterCropPad.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/axis_gather.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/lower_axis_gather.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kData = 0, kPads = 1, kValue = 2, kAxes = 3;
constexpr std::byte kZero[8] = {};

struct Pads {
  std::vector<int64_t> begin, end;  // by dimension; negative removes elements
};

absl::StatusOr<Pads> ReadPads(const std::vector<int64_t>& pads,
                              const std::vector<int64_t>& given_axes, bool has_axes, int rank) {
  Pads result = {.begin = std::vector<int64_t>(rank, 0), .end = std::vector<int64_t>(rank, 0)};
  OCTET_ASSIGN_OR_RETURN(std::vector<int> axes, NormalizeAxes(given_axes, rank));
  for (int d = 0; !has_axes && d < rank; ++d) axes.push_back(d);
  if (pads.size() != 2 * axes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(pads.size(), " pads for ", axes.size(), " dimensions"));
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    result.begin[axes[i]] = pads[i];
    result.end[axes[i]] = pads[axes.size() + i];
  }
  return result;
}

absl::Status CheckMode(const std::string& mode) {
  if (mode == "constant" || mode == "edge" || mode == "reflect" || mode == "wrap") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("mode must be constant, edge, reflect or wrap, not ", mode));
}

absl::StatusOr<std::vector<TensorType>> InferPad(const InferContext& context) {
  const std::string mode = context.node().String("mode", "constant");
  OCTET_RETURN_IF_ERROR(CheckMode(mode));
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> list, IntList(context, kPads, "pads"));
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, IntList(context, kAxes, ""));
  OCTET_ASSIGN_OR_RETURN(const Pads pads,
                         ReadPads(list, axes, context.has_input(kAxes), context.rank(kData)));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kValue, context.input(kData).dtype));
  if (context.has_input(kValue) && ElementCount(context.shape(kValue)) != 1) {
    return absl::InvalidArgumentError("the padding value must be one element");
  }
  Shape shape = context.shape(kData);
  for (size_t d = 0; d < shape.size(); ++d) {
    const int64_t dim = shape[d];
    if (__builtin_add_overflow(shape[d], pads.begin[d], &shape[d]) ||
        __builtin_add_overflow(shape[d], pads.end[d], &shape[d]) || shape[d] < 0 ||
        pads.begin[d] < -dim || pads.end[d] < -dim) {
      return absl::InvalidArgumentError(absl::StrCat("pads ", pads.begin[d], " and ", pads.end[d],
                                                     " do not fit a dimension of ", dim));
    }
    if (dim == 0 && shape[d] > 0 && mode != "constant") {
      return absl::InvalidArgumentError(
          absl::StrCat("mode ", mode, " has no element to repeat in an empty dimension"));
    }
  }
  OCTET_RETURN_IF_ERROR(CheckGatherShape(shape));
  return std::vector<TensorType>{{.dtype = context.input(kData).dtype, .shape = std::move(shape)}};
}

int64_t Modulo(int64_t value, int64_t period) {
  const int64_t rest = value % period;
  return rest < 0 ? rest + period : rest;
}

// Where a position outside [0, dim) reads in this mode.
int64_t SourceOf(int64_t position, int64_t dim, char mode) {
  if (position >= 0 && position < dim) return position;
  switch (mode) {
    case 'e':
      return std::clamp<int64_t>(position, 0, dim - 1);
    case 'r': {
      const int64_t period = std::max<int64_t>(2 * (dim - 1), 1);
      const int64_t in_period = Modulo(position, period);
      return std::min(in_period, period - in_period) % dim;
    }
    case 'w':
      return Modulo(position, dim);
    default:
      return AxisGather::kFill;
  }
}

std::vector<std::vector<int64_t>> AxisLists(const Shape& from, const Pads& pads, char mode) {
  std::vector<std::vector<int64_t>> lists(from.size());
  for (size_t d = 0; d < from.size(); ++d) {
    const int64_t size = from[d] + pads.begin[d] + pads.end[d];
    lists[d].reserve(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
      lists[d].push_back(SourceOf(i - pads.begin[d], from[d], mode));
    }
  }
  return lists;
}

char ModeOf(const graph::Node& node) { return node.String("mode", "constant")[0]; }

absl::Status ReferencePad(const graph::Node& node, std::span<const ConstTensorView> inputs,
                          std::span<TensorView> outputs) {
  const ConstTensorView& data = inputs[kData];
  const bool has_axes = inputs.size() > kAxes && inputs[kAxes].present();
  OCTET_ASSIGN_OR_RETURN(const Pads pads,
                         ReadPads(IntList(node, inputs, kPads, "pads"),
                                  IntList(node, inputs, kAxes, ""), has_axes, data.rank()));
  const size_t bytes = ByteSize(data.dtype);
  std::byte fill[8] = {};
  if (inputs.size() > kValue && inputs[kValue].present()) {
    std::memcpy(fill, inputs[kValue].data, bytes);
  } else if (data.dtype == DataType::kFloat32) {  // opset 2
    const float value = node.Float("value", 0.0f);
    std::memcpy(fill, &value, sizeof value);
  }
  AxisGather(data.shape, AxisLists(data.shape, pads, ModeOf(node)), bytes)
      .Run(data.data, outputs[0].data, fill);
  return absl::OkStatus();
}

// The code of a real number.
int32_t Quantize(float value, const TensorType& type) {
  const int32_t lowest = type.dtype == DataType::kInt8 ? -128 : 0;
  const double code =
      std::nearbyint(double{value} / type.quant->scales[0]) + type.quant->zero_points[0];
  return static_cast<int32_t>(std::clamp<double>(code, lowest, lowest + 255));
}

// The padding element as a buffer.
absl::StatusOr<int> FillBuffer(LoweringContext& context) {
  const TensorType& type = context.input_type(kData);
  const bool has_value = context.has_input(kValue);
  if (!type.quant && has_value) return context.Plain(kValue);
  float value = context.node().Float("value", 0.0f);
  if (has_value) {
    if (!context.is_constant(kValue) || !context.constant(kValue).has_bytes()) {
      return absl::UnimplementedError("quantized data with a padding value that is no constant");
    }
    value = context.constant(kValue).As<float>()[0];
  }
  if (type.quant) {
    const auto code = static_cast<uint8_t>(Quantize(value, type));
    return context.SmallConstant(Tensor::Scalar<uint8_t>(code));
  }
  if (type.dtype == DataType::kFloat32) {
    return context.SmallConstant(Tensor::Scalar<float>(value));
  }
  return context.SmallConstant(Tensor::Scalar<int64_t>(0));
}

bool HasBytes(const LoweringContext& context, int input) {
  return !context.has_input(input) ||
         (context.is_constant(input) && context.constant(input).has_bytes());
}

absl::StatusOr<bool> LowerPad(LoweringContext& context) {
  const TensorType& type = context.input_type(kData);
  const bool carries =
      type.quant == context.output_type(0).quant && (!type.quant || !type.quant->axis);
  if (!carries || !HasBytes(context, kPads) || !HasBytes(context, kAxes)) {
    if (!type.quant) return false;
    return absl::UnimplementedError("input and output have different quantizers");
  }
  const auto list = [&](int input, absl::string_view attribute) {
    return context.has_input(input) ? Ints(context.constant(input).view())
                                    : context.node().Ints(attribute);
  };
  OCTET_ASSIGN_OR_RETURN(const Pads pads,
                         ReadPads(list(kPads, "pads"), list(kAxes, ""), context.has_input(kAxes),
                                  static_cast<int>(type.shape.size())));
  OCTET_ASSIGN_OR_RETURN(const int fill, FillBuffer(context));
  return LowerAxisGather(context, AxisLists(type.shape, pads, ModeOf(context.node())), fill);
}

// --- CenterCropPad ---

// The wanted size of every dimension.
absl::StatusOr<Shape> CenteredShape(const Shape& from, const graph::Node& node,
                                    const std::vector<int64_t>& sizes) {
  const int rank = static_cast<int>(from.size());
  OCTET_ASSIGN_OR_RETURN(std::vector<int> axes, NormalizeAxes(node.Ints("axes"), rank));
  for (int d = 0; !node.Has("axes") && d < rank; ++d) axes.push_back(d);
  if (sizes.size() != axes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(sizes.size(), " sizes for ", axes.size(), " dimensions"));
  }
  Shape shape = from;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (sizes[i] < 0) return absl::InvalidArgumentError(absl::StrCat("size ", sizes[i]));
    shape[axes[i]] = sizes[i];
  }
  return shape;
}

absl::StatusOr<std::vector<TensorType>> InferCenterCropPad(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, IntList(context, 1, ""));
  OCTET_ASSIGN_OR_RETURN(Shape shape, CenteredShape(context.shape(0), context.node(), sizes));
  OCTET_RETURN_IF_ERROR(CheckGatherShape(shape));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = std::move(shape)}};
}

absl::Status ReferenceCenterCropPad(const graph::Node&, std::span<const ConstTensorView> inputs,
                                    std::span<TensorView> outputs) {
  const Shape& from = inputs[0].shape;
  const Shape& to = outputs[0].shape;
  Pads pads;
  for (size_t d = 0; d < from.size(); ++d) {
    const int64_t added = to[d] - from[d];
    pads.begin.push_back(added >= 0 ? added / 2 : -(-added / 2));
    pads.end.push_back(added - pads.begin.back());
  }
  AxisGather(from, AxisLists(from, pads, 'c'), ByteSize(inputs[0].dtype))
      .Run(inputs[0].data, outputs[0].data, kZero);
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Pad",
                .min_inputs = 1,
                .max_inputs = 4,
                .quant = graph::QuantRole::kCarry,
                .infer = InferPad,
                .reference = ReferencePad},
     .lower = LowerPad},
    {.schema = {.type = "CenterCropPad",
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = InferCenterCropPad,
                .reference = ReferenceCenterCropPad}},
};

}  // namespace

std::span<const Operator> pad() { return kOperators; }

}  // namespace octet::kernels::ops
