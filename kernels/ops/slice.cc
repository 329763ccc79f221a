// Slice and Split: parts of a tensor, copied in whatever dense layout it lies in.

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

// What is taken along one dimension: `count` elements from `start` on.
struct Range {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};
using Ranges = std::vector<Range>;  // by dimension

Ranges Everything(const Shape& shape) {
  Ranges ranges;
  for (const int64_t dim : shape) ranges.push_back({.count = dim});
  return ranges;
}

Shape CountsOf(const Ranges& ranges) {
  Shape shape;
  for (const Range& range : ranges) shape.push_back(range.count);
  return shape;
}

// numpy's meaning of start:end:step on a dimension: out-of-range bounds are moved to the edge.
Range ClampRange(int64_t start, int64_t end, int64_t step, int64_t dim) {
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? dim : dim - 1;
  const auto clamp = [&](int64_t bound) {
    if (bound < 0) bound = bound < -dim ? lowest : bound + dim;
    return std::clamp(bound, lowest, std::max(lowest, highest));
  };
  start = clamp(start);
  end = clamp(end);
  const int64_t distance = step > 0 ? end - start : start - end;
  if (distance <= 0) return {};
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - step;
  const int64_t count = static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride) + 1;
  return {.start = start, .step = count == 1 ? 1 : step, .count = count};
}

struct SliceLists {
  std::vector<int64_t> starts, ends, axes, steps;
};

absl::StatusOr<Ranges> ReadRanges(const Shape& shape, SliceLists lists) {
  const size_t count = lists.starts.size();
  if (lists.axes.empty()) {
    for (size_t i = 0; i < count; ++i) lists.axes.push_back(static_cast<int64_t>(i));
  }
  if (lists.steps.empty()) lists.steps.assign(count, 1);
  if (lists.ends.size() != count || lists.axes.size() != count || lists.steps.size() != count) {
    return absl::InvalidArgumentError(absl::StrCat(count, " starts, ", lists.ends.size(), " ends, ",
                                                   lists.axes.size(), " axes and ",
                                                   lists.steps.size(), " steps do not match"));
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> axes,
                         NormalizeAxes(lists.axes, static_cast<int>(shape.size())));
  Ranges ranges = Everything(shape);
  for (size_t i = 0; i < count; ++i) {
    if (lists.steps[i] == 0) return absl::InvalidArgumentError("a step is zero");
    ranges[axes[i]] = ClampRange(lists.starts[i], lists.ends[i], lists.steps[i], shape[axes[i]]);
  }
  return ranges;
}

absl::StatusOr<std::vector<TensorType>> InferSlice(const InferContext& context) {
  SliceLists lists;
  OCTET_ASSIGN_OR_RETURN(lists.starts, IntList(context, 1, "starts"));
  OCTET_ASSIGN_OR_RETURN(lists.ends, IntList(context, 2, "ends"));
  OCTET_ASSIGN_OR_RETURN(lists.axes, IntList(context, 3, "axes"));
  OCTET_ASSIGN_OR_RETURN(lists.steps, IntList(context, 4, "steps"));
  OCTET_ASSIGN_OR_RETURN(const Ranges ranges, ReadRanges(context.shape(0), std::move(lists)));
  return std::vector<TensorType>{{.dtype = context.input(0).dtype, .shape = CountsOf(ranges)}};
}

// Row-major parts of a row-major tensor.
void CopyPart(const Ranges& ranges, const Shape& shape, size_t element_bytes, const std::byte* from,
              std::byte* to) {
  const Shape counts = CountsOf(ranges);
  Shape strides = RowMajorStrides(shape);
  int64_t offset = 0;
  for (size_t d = 0; d < ranges.size(); ++d) {
    offset += ranges[d].start * strides[d];
    strides[d] *= ranges[d].step;
  }
  CopyStrided(element_bytes, counts, {to, RowMajorStrides(counts)},
              {from + offset * static_cast<int64_t>(element_bytes), strides});
}

absl::Status ReferenceSlice(const graph::Node& node, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Ranges ranges,
                         ReadRanges(inputs[0].shape, {.starts = IntList(node, inputs, 1, "starts"),
                                                      .ends = IntList(node, inputs, 2, "ends"),
                                                      .axes = IntList(node, inputs, 3, "axes"),
                                                      .steps = IntList(node, inputs, 4, "steps")}));
  CopyPart(ranges, inputs[0].shape, ByteSize(inputs[0].dtype), inputs[0].data, outputs[0].data);
  return absl::OkStatus();
}

// The ranges on the layout's physical dimensions; none if they cut through a block.
std::optional<Ranges> PhysicalRanges(const Ranges& ranges, const Shape& shape,
                                     const PhysicalLayout& layout) {
  Ranges physical = Everything(layout.Dims(shape));
  for (size_t d = 0; d < ranges.size(); ++d) {
    const int64_t block = layout.step(static_cast<int>(d));
    const Range& range = ranges[d];
    if (block != 1 && (range.step != 1 || range.start % block != 0 || range.count % block != 0)) {
      return std::nullopt;
    }
    physical[layout.axis(static_cast<int>(d))] = {
        .start = range.start / block, .step = range.step, .count = range.count / block};
  }
  return physical;
}

// Copies parts in the layout the input lies in. False if a part does not fit it.
absl::StatusOr<bool> LowerParts(LoweringContext& context, const std::vector<Ranges>& parts) {
  const std::optional<PhysicalLayout> layout = FoundLayout(context);
  if (!layout) return LowerCarry(context);
  const Shape& shape = context.input_shape(0);
  std::vector<std::optional<Ranges>> physical;
  for (size_t i = 0; i < parts.size(); ++i) {
    physical.push_back(PhysicalRanges(parts[i], shape, *layout));
    if (!physical.back() || ElementCount(CountsOf(*physical.back())) == 0) {
      return LowerCarry(context);
    }
  }
  OCTET_ASSIGN_OR_RETURN(const int source, InFoundLayout(context));
  for (size_t i = 0; i < parts.size(); ++i) {
    const int output = static_cast<int>(i);
    if (!context.has_output(output)) continue;
    const int target = OutputInFoundLayout(context, output, *layout);
    context.Emit(MakeKernel("octet:slice",
                            [ranges = *physical[i], dims = layout->Dims(shape),
                             bytes = ByteSize(context.input_type(0).dtype)](const StepMemory& m) {
                              CopyPart(ranges, dims, bytes, m.inputs[0], m.outputs[0]);
                              return absl::OkStatus();
                            }),
                 {source}, {target});
  }
  return true;
}

absl::StatusOr<bool> LowerSlice(LoweringContext& context) {
  SliceLists lists;
  const auto read = [&](int input, absl::string_view attribute) {
    return context.has_input(input) ? Ints(context.constant(input).view())
                                    : context.node().Ints(attribute);
  };
  for (int i = 1; i < context.input_count(); ++i) {
    if (context.has_input(i) && !(context.is_constant(i) && context.constant(i).has_bytes())) {
      return LowerCarry(context);
    }
  }
  lists = {read(1, "starts"), read(2, "ends"), read(3, "axes"), read(4, "steps")};
  OCTET_ASSIGN_OR_RETURN(const Ranges ranges, ReadRanges(context.input_shape(0), std::move(lists)));
  return LowerParts(context, {ranges});
}

// --- Split ---

// Opset 18 states the number of parts; the last one is smaller if they cannot be equal.
std::vector<int64_t> EqualParts(int64_t dim, int64_t count) {
  const int64_t part = dim / count + (dim % count != 0);
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < count; ++i) {
    sizes.push_back(std::min(part, dim));
    dim -= sizes.back();
  }
  return sizes;
}

absl::Status CheckParts(const std::vector<int64_t>& sizes, int64_t dim, size_t outputs) {
  if (sizes.size() != outputs) {
    return absl::InvalidArgumentError(
        absl::StrCat("split into ", sizes.size(), " parts, but there are ", outputs, " outputs"));
  }
  int64_t left = dim;
  for (const int64_t size : sizes) {
    if (size < 0 || size > left) {
      return absl::InvalidArgumentError(
          absl::StrCat("a part of ", size, " where ", left, " of ", dim, " are left"));
    }
    left -= size;
  }
  if (left == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the parts leave ", left, " of ", dim, " elements"));
}

absl::StatusOr<std::vector<TensorType>> InferSplit(const InferContext& context) {
  const graph::Node& node = context.node();
  OCTET_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(node.Int("axis", 0), context.rank(0)));
  const int64_t dim = context.shape(0)[axis];
  const auto outputs = static_cast<int64_t>(node.outputs.size());
  OCTET_ASSIGN_OR_RETURN(std::vector<int64_t> sizes, IntList(context, 1, "split"));
  if (sizes.empty()) {
    const bool counted = node.Has("num_outputs");
    if (outputs == 0 || (counted && node.Int("num_outputs", 0) != outputs)) {
      return absl::InvalidArgumentError(absl::StrCat("num_outputs is ", node.Int("num_outputs", 0),
                                                     ", but there are ", outputs, " outputs"));
    }
    if (!counted && dim % outputs != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(dim, " elements do not split into ", outputs, " equal parts"));
    }
    sizes = EqualParts(dim, outputs);
  }
  OCTET_RETURN_IF_ERROR(CheckParts(sizes, dim, node.outputs.size()));
  std::vector<TensorType> types(sizes.size(),
                                {.dtype = context.input(0).dtype, .shape = context.shape(0)});
  for (size_t i = 0; i < sizes.size(); ++i) types[i].shape[axis] = sizes[i];
  return types;
}

int SplitAxis(const graph::Node& node, const Shape& shape) {
  const int64_t axis = node.Int("axis", 0);
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis);
}

absl::Status ReferenceSplit(const graph::Node& node, std::span<const ConstTensorView> inputs,
                            std::span<TensorView> outputs) {
  const int axis = SplitAxis(node, inputs[0].shape);
  Ranges ranges = Everything(inputs[0].shape);
  // Outputs that nobody reads may have lost their shape: their place is found by the list.
  std::vector<int64_t> sizes = IntList(node, inputs, 1, "split");
  if (sizes.empty()) {
    sizes = EqualParts(inputs[0].shape[axis], static_cast<int64_t>(outputs.size()));
  }
  int64_t start = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    ranges[axis] = {.start = start, .count = sizes[i]};
    start += sizes[i];
    if (!outputs[i].present()) continue;
    CopyPart(ranges, inputs[0].shape, ByteSize(inputs[0].dtype), inputs[0].data, outputs[i].data);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> LowerSplit(LoweringContext& context) {
  const Shape& shape = context.input_shape(0);
  const int axis = SplitAxis(context.node(), shape);
  std::vector<Ranges> parts;
  int64_t start = 0;
  for (int i = 0; i < static_cast<int>(context.node().outputs.size()); ++i) {
    if (!context.has_output(i)) return LowerCarry(context);
    const int64_t size = context.output_shape(i)[axis];
    parts.push_back(Everything(shape));
    parts.back()[axis] = {.start = start, .count = size};
    start += size;
  }
  return LowerParts(context, parts);
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Slice",
                .min_inputs = 1,
                .max_inputs = 5,
                .quant = graph::QuantRole::kCarry,
                .infer = InferSlice,
                .reference = ReferenceSlice},
     .lower = LowerSlice},
    {.schema = {.type = "Split",
                .min_inputs = 1,
                .max_inputs = 2,
                .quant = graph::QuantRole::kCarry,
                .infer = InferSplit,
                .reference = ReferenceSplit},
     .lower = LowerSplit},
};

}  // namespace

std::span<const Operator> slice() { return kOperators; }

}  // namespace octet::kernels::ops
