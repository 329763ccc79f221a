// Resize and Upsample. Nearest neighbours are copied, the other modes are separable filters; both
// work in the layout the input lies in.

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/axis_gather.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/lower_axis_gather.h"
#include "kernels/operator.h"
#include "kernels/resize_geometry.h"

namespace octet::kernels::ops {
namespace {

// Which input holds what; absent ones are -1.
struct Operands {
  int roi, scales, sizes;
};
constexpr Operands OperandsOf(ResizeDialect dialect) {
  return dialect == ResizeDialect::kResize11 ? Operands{1, 2, 3} : Operands{-1, 1, -1};
}

std::vector<float> FloatList(const ConstTensorView& view) {
  if (view.dtype != DataType::kFloat32) return {};
  const auto values = view.As<float>();
  return {values.begin(), values.end()};
}

// `view(i)` gives input i, not present if there is none or its value is not known yet.
template <typename View>
ResizeLists ReadLists(const graph::Node& node, ResizeDialect dialect, const View& view) {
  const Operands operands = OperandsOf(dialect);
  ResizeLists lists = {.scales = node.Floats("scales")};  // Upsample of opset 7
  const auto floats = [&](int i, std::vector<float>& list) {
    if (const ConstTensorView input = view(i); input.present()) list = FloatList(input);
  };
  floats(operands.scales, lists.scales);
  if (dialect != ResizeDialect::kResize11) return lists;
  floats(operands.roi, lists.roi);
  if (const ConstTensorView input = view(operands.sizes); input.present()) {
    lists.sizes = Ints(input);
  }
  return lists;
}

template <ResizeDialect kDialect>
absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  constexpr Operands kOperands = OperandsOf(kDialect);
  for (const int i : {kOperands.scales, kOperands.sizes}) {
    if (context.has_input(i < 0 ? context.input_count() : i) && context.constant(i) == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat("input ", i,
                       " depends on the request's data, but it decides the shape of "
                       "the result, which must be known before the model runs"));
    }
  }
  OCTET_ASSIGN_OR_RETURN(ResizeForm form, ReadResizeForm(context.node(), kDialect));
  ResizeLists lists = ReadLists(context.node(), kDialect, [&](int i) {
    const Tensor* constant = context.constant(i);
    return constant == nullptr ? ConstTensorView() : constant->view();
  });
  if (kDialect == ResizeDialect::kResize11 && context.has_input(kOperands.roi)) {
    // The values of the region may come with the request, their number may not.
    OCTET_RETURN_IF_ERROR(ExpectType(context, kOperands.roi, DataType::kFloat32));
    lists.roi.resize(
        static_cast<size_t>(std::min<int64_t>(ElementCount(context.shape(kOperands.roi)), 64)));
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<ResizeAxis> axes,
                         ReadResizeAxes(context.node(), form, context.shape(0), lists));
  if (context.input(0).dtype == DataType::kBool && form.mode != ResizeMode::kNearest) {
    return absl::InvalidArgumentError("booleans cannot be interpolated");
  }
  TensorType type = {.dtype = context.input(0).dtype};
  for (const ResizeAxis& axis : axes) type.shape.push_back(axis.output);
  return std::vector<TensorType>{std::move(type)};
}

std::vector<std::vector<int64_t>> NearestLists(const ResizeForm& form,
                                               const std::vector<ResizeAxis>& axes) {
  std::vector<std::vector<int64_t>> lists;
  lists.reserve(axes.size());
  for (const ResizeAxis& axis : axes) lists.push_back(NearestIndices(form, axis));
  return lists;
}

std::vector<AxisFilter> Filters(const ResizeForm& form, const std::vector<ResizeAxis>& axes) {
  std::vector<AxisFilter> filters;
  filters.reserve(axes.size());
  for (const ResizeAxis& axis : axes) filters.push_back(InterpolationFilter(form, axis));
  return filters;
}

absl::Status ReferenceOf(ResizeDialect dialect, const graph::Node& node,
                         std::span<const ConstTensorView> inputs, std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const ResizeForm form, ReadResizeForm(node, dialect));
  const ResizeLists lists = ReadLists(node, dialect, [&](int i) {
    return static_cast<size_t>(i) < inputs.size() ? inputs[i] : ConstTensorView();
  });
  OCTET_ASSIGN_OR_RETURN(const std::vector<ResizeAxis> axes,
                         ReadResizeAxes(node, form, inputs[0].shape, lists));
  if (outputs[0].size() == 0) return absl::OkStatus();
  return VisitType(inputs[0].dtype, [&]<typename T>() {
    const T fill = FromFloat<T>(form.extrapolation);
    if (form.mode == ResizeMode::kNearest) {
      AxisGather(inputs[0].shape, NearestLists(form, axes), sizeof(T))
          .Run(inputs[0].data, outputs[0].data, reinterpret_cast<const std::byte*>(&fill));
    } else if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, double>) {
      const Resampler resampler(inputs[0].shape, Filters(form, axes), form.extrapolation);
      std::vector<float> scratch(resampler.scratch_bytes() / sizeof(float));
      resampler.Run(inputs[0].As<T>().data(), outputs[0].As<T>().data(),
                    reinterpret_cast<std::byte*>(scratch.data()));
    }
    return absl::OkStatus();
  });
}

template <ResizeDialect kDialect>
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  return ReferenceOf(kDialect, node, inputs, outputs);
}

// --- lowering ---

// The extrapolation value among the stored elements: of quantized data, its code.
float StoredFill(const TensorType& type, float value) {
  if (!type.quant) return value;
  return std::nearbyint(value / type.quant->scales[0]) +
         static_cast<float>(type.quant->zero_points[0]);
}

Tensor StoredElement(const TensorType& type, float value) {
  const float stored = StoredFill(type, value);
  if (type.dtype == DataType::kFloat32) return Tensor::Scalar<float>(stored);
  if (type.dtype == DataType::kInt8) {
    return Tensor::Scalar<int8_t>(FromFloat<int8_t>(stored));
  }
  return Tensor::Scalar<uint8_t>(FromFloat<uint8_t>(stored));
}

template <typename T>
std::unique_ptr<Kernel> InterpolationKernel(const std::shared_ptr<const Resampler>& resampler) {
  return MakeKernel(
      "octet:interpolate",
      [resampler](const StepMemory& memory) {
        resampler->Run(reinterpret_cast<const T*>(memory.inputs[0]),
                       reinterpret_cast<T*>(memory.outputs[0]), memory.scratch);
        return absl::OkStatus();
      },
      resampler->scratch_bytes());
}

void LowerInterpolation(LoweringContext& context, const ResizeForm& form,
                        const std::vector<ResizeAxis>& axes,
                        const std::optional<PhysicalLayout>& layout, int source) {
  const TensorType& type = context.input_type(0);
  std::vector<AxisFilter> filters = Filters(form, axes);
  Shape shape = type.shape;
  if (layout) {
    shape = layout->Dims(type.shape);
    std::vector<AxisFilter> physical(shape.size());
    for (size_t d = 0; d < filters.size(); ++d) {
      physical[layout->axis(static_cast<int>(d))] = std::move(filters[d]);
    }
    filters = std::move(physical);
  }
  const auto resampler = std::make_shared<const Resampler>(shape, std::move(filters),
                                                           StoredFill(type, form.extrapolation));
  const int target = layout ? OutputInFoundLayout(context, 0, *layout) : context.PlainOutput(0);
  std::unique_ptr<Kernel> kernel;
  if (type.dtype == DataType::kFloat32) kernel = InterpolationKernel<float>(resampler);
  if (type.dtype == DataType::kUint8) kernel = InterpolationKernel<uint8_t>(resampler);
  if (type.dtype == DataType::kInt8) kernel = InterpolationKernel<int8_t>(resampler);
  context.Emit(std::move(kernel), {source}, {target});
}

// The layout to interpolate in: the one found, unless channels that lie in blocks are resized.
std::optional<PhysicalLayout> InterpolationLayout(const LoweringContext& context,
                                                  const std::vector<ResizeAxis>& axes) {
  std::optional<PhysicalLayout> layout = FoundLayout(context);
  if (layout && layout->block() != 1 && !axes[1].whole) layout.reset();
  return layout;
}

absl::StatusOr<bool> LowerOf(ResizeDialect dialect, LoweringContext& context) {
  const TensorType& type = context.input_type(0);
  OCTET_ASSIGN_OR_RETURN(const ResizeForm form, ReadResizeForm(context.node(), dialect));
  const bool stored = type.dtype == DataType::kFloat32 || type.dtype == DataType::kUint8 ||
                      type.dtype == DataType::kInt8;
  bool known = true;
  for (int i = 1; i < context.input_count(); ++i) {
    const bool used =
        i != OperandsOf(dialect).roi || form.coordinates == CoordinateMode::kTfCropAndResize;
    known = known && (!used || !context.has_input(i) ||
                      (context.is_constant(i) && context.constant(i).has_bytes()));
  }
  if (type.quant && (!known || type.quant != context.output_type(0).quant || type.quant->axis)) {
    return absl::UnimplementedError("no kernel resizes quantized data in this form");
  }
  if (!stored || !known || ElementCount(context.output_shape(0)) == 0) return LowerCarry(context);
  const ResizeLists lists = ReadLists(context.node(), dialect, [&](int i) {
    return context.has_input(i) && context.is_constant(i) ? context.constant(i).view()
                                                          : ConstTensorView();
  });
  OCTET_ASSIGN_OR_RETURN(const std::vector<ResizeAxis> axes,
                         ReadResizeAxes(context.node(), form, type.shape, lists));
  if (form.mode == ResizeMode::kNearest) {
    return LowerAxisGather(context, NearestLists(form, axes),
                           context.SmallConstant(StoredElement(type, form.extrapolation)));
  }
  const std::optional<PhysicalLayout> layout = InterpolationLayout(context, axes);
  OCTET_ASSIGN_OR_RETURN(const int source, layout ? InFoundLayout(context) : context.Plain(0));
  LowerInterpolation(context, form, axes, layout, source);
  return true;
}

template <ResizeDialect kDialect>
absl::StatusOr<bool> Lower(LoweringContext& context) {
  return LowerOf(kDialect, context);
}

template <ResizeDialect kDialect>
constexpr Operator Resizing(absl::string_view type, int since_version, int max_inputs) {
  return {.schema = {.type = type,
                     .since_version = since_version,
                     .min_inputs = 1,
                     .max_inputs = max_inputs,
                     .quant = graph::QuantRole::kCarry,
                     .infer = Infer<kDialect>,
                     .reference = Reference<kDialect>},
          .lower = Lower<kDialect>};
}

constexpr Operator kOperators[] = {
    Resizing<ResizeDialect::kUpsample>("Upsample", 7, 2),
    Resizing<ResizeDialect::kResize10>("Resize", 10, 2),
    Resizing<ResizeDialect::kResize11>("Resize", 11, 4),
};

}  // namespace

std::span<const Operator> resize() { return kOperators; }

}  // namespace octet::kernels::ops
