// Concat. Joins its inputs in whatever dense layout most of the data lies in already. Inputs of
// other quantizers than the output's have their codes translated by a table on the way.

#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  if (!context.node().Has("axis")) return absl::InvalidArgumentError("the axis is missing");
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", 0), context.rank(0)));
  TensorType result = {.dtype = context.input(0).dtype, .shape = context.shape(0)};
  for (int i = 1; i < context.input_count(); ++i) {
    if (!context.has_input(i)) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is missing"));
    }
    OCTET_RETURN_IF_ERROR(ExpectType(context, i, result.dtype));
    const Shape& shape = context.shape(i);
    bool fits = shape.size() == result.shape.size();
    for (int d = 0; fits && d < context.rank(0); ++d)
      fits = d == axis || shape[d] == result.shape[d];
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat("cannot join ", ToText(context.shape(0)),
                                                     " and ", ToText(shape), " along axis ", axis));
    }
    if (__builtin_add_overflow(result.shape[axis], shape[axis], &result.shape[axis])) {
      return absl::InvalidArgumentError("the result is too large");
    }
  }
  return std::vector<TensorType>{std::move(result)};
}

using CodeTable = std::array<uint8_t, 256>;  // by the code's bits

// One input: so many contiguous bytes for every index of the dimensions before the axis.
struct Part {
  size_t bytes = 0;
  std::optional<CodeTable> table;
};

void CopyPart(const Part& part, const std::byte* from, std::byte* to) {
  if (!part.table) {
    if (part.bytes > 0) std::memcpy(to, from, part.bytes);
    return;
  }
  const auto* source = reinterpret_cast<const uint8_t*>(from);
  auto* target = reinterpret_cast<uint8_t*>(to);
  for (size_t i = 0; i < part.bytes; ++i) target[i] = (*part.table)[source[i]];
}

template <typename Sources>
void Join(const std::vector<Part>& parts, int64_t rows, const Sources& sources, std::byte* to) {
  for (int64_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto offset = static_cast<size_t>(row) * parts[i].bytes;
      CopyPart(parts[i], sources(i) + offset, to);
      to += parts[i].bytes;
    }
  }
}

int AxisOf(const graph::Node& node, size_t rank) {
  const int64_t axis = node.Int("axis", 0);
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const Shape& shape = outputs[0].shape;
  if (outputs[0].size() == 0) return absl::OkStatus();
  const auto axis = static_cast<size_t>(AxisOf(node, shape.size()));
  std::vector<Part> parts;
  for (const ConstTensorView& input : inputs) {
    parts.push_back({.bytes = static_cast<size_t>(Product(input.shape, axis, shape.size())) *
                              ByteSize(input.dtype)});
  }
  Join(parts, Product(shape, 0, axis), [&](size_t i) { return inputs[i].data; }, outputs[0].data);
  return absl::OkStatus();
}

// --- lowering ---

// The layout that the largest input with one lies in, if all operands fit it.
std::optional<PhysicalLayout> CommonLayout(const LoweringContext& context) {
  std::optional<PhysicalLayout> found;
  int64_t largest = 0;
  for (int i = 0; i < context.input_count(); ++i) {
    const int64_t size = ElementCount(context.input_shape(i));
    const std::optional<dnnl::memory::desc> native = context.NativeDesc(i);
    if (!native || context.input_shape(i).empty()) return std::nullopt;
    if (size <= largest) continue;
    const std::optional<PhysicalLayout> layout = PhysicalLayout::Of(*native);
    if (!layout) continue;
    largest = size;
    found = layout;
  }
  if (!found || found->row_major()) return std::nullopt;
  for (int i = 0; i < context.input_count(); ++i) {
    if (!found->Fits(context.input_shape(i))) return std::nullopt;
  }
  return found;
}

// Code -> code of the same real number under another quantizer.
CodeTable TranslateCodes(const TensorType& from, const TensorType& to) {
  const auto range = [](const TensorType& type) {
    return type.dtype == DataType::kInt8 ? std::pair(-128, 127) : std::pair(0, 255);
  };
  CodeTable table;
  const auto [first, last] = range(from);
  const auto [lowest, highest] = range(to);
  for (int code = first; code <= last; ++code) {
    const double real = double{from.quant->scales[0]} * (code - from.quant->zero_points[0]);
    const double wanted = std::nearbyint(real / to.quant->scales[0]) + to.quant->zero_points[0];
    const double clamped = std::min<double>(std::max<double>(wanted, lowest), highest);
    table[static_cast<uint8_t>(code)] = static_cast<uint8_t>(static_cast<int>(clamped));
  }
  return table;
}

absl::Status CheckQuantizers(const LoweringContext& context) {
  const auto per_tensor = [](const TensorType& type) { return type.quant && !type.quant->axis; };
  bool all = per_tensor(context.output_type(0));
  for (int i = 0; i < context.input_count(); ++i) all = all && per_tensor(context.input_type(i));
  if (all) return absl::OkStatus();
  return absl::UnimplementedError("quantized and other operands cannot be joined");
}

bool AnyQuantized(const LoweringContext& context) {
  bool any = context.output_type(0).quant.has_value();
  for (int i = 0; i < context.input_count(); ++i) {
    any = any || context.input_type(i).quant.has_value();
  }
  return any;
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const TensorType& output = context.output_type(0);
  const bool quantized = AnyQuantized(context);
  if (quantized) OCTET_RETURN_IF_ERROR(CheckQuantizers(context));
  if (ElementCount(output.shape) == 0 && !quantized) return false;
  const std::optional<PhysicalLayout> layout = CommonLayout(context);
  const int logical_axis = AxisOf(context.node(), output.shape.size());
  const auto axis = static_cast<size_t>(layout ? layout->axis(logical_axis) : logical_axis);
  std::vector<Part> parts;
  std::vector<int> sources;
  for (int i = 0; i < context.input_count(); ++i) {
    const TensorType& type = context.input_type(i);
    const Shape dims = layout ? layout->Dims(type.shape) : type.shape;
    Part part = {.bytes =
                     static_cast<size_t>(Product(dims, axis, dims.size())) * ByteSize(type.dtype)};
    if (quantized && (type.quant != output.quant || type.dtype != output.dtype)) {
      part.table = TranslateCodes(type, output);
    }
    parts.push_back(part);
    OCTET_ASSIGN_OR_RETURN(
        const int source,
        layout
            ? context.InLayout(i, layout->Desc(type.shape, context.NativeDesc(i)->get_data_type()))
            : context.Plain(i));
    sources.push_back(source);
  }
  const Shape dims = layout ? layout->Dims(output.shape) : output.shape;
  const int target = layout ? context.OutputInLayout(
                                  0, layout->Desc(output.shape, PlainDesc(output)->get_data_type()))
                            : context.PlainOutput(0);
  context.Emit(
      MakeKernel("octet:concat",
                 [parts, rows = Product(dims, 0, axis)](const StepMemory& memory) {
                   Join(parts, rows, [&](size_t i) { return memory.inputs[i]; }, memory.outputs[0]);
                   return absl::OkStatus();
                 }),
      std::move(sources), {target});
  return true;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Concat",
                .min_inputs = 1,
                .max_inputs = graph::OpSchema::kVariadic,
                .quant = graph::QuantRole::kCombine,
                .infer = Infer,
                .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> concat() { return kOperators; }

}  // namespace octet::kernels::ops
