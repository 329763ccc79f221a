#include "kernels/lower_axis_gather.h"

#include <memory>
#include <utility>

#include "base/status.h"
#include "kernels/axis_gather.h"
#include "kernels/carry.h"

namespace octet::kernels {
namespace {

using AxisLists = std::vector<std::vector<int64_t>>;

// The lists for the physical dimensions; none if the output does not fit the layout, or channels
// are moved that lie in blocks.
std::optional<AxisLists> PhysicalLists(const LoweringContext& context, const PhysicalLayout& layout,
                                       const AxisLists& axes) {
  const Shape& shape = context.input_shape(0);
  const Shape& output = context.output_shape(0);
  if (ElementCount(output) == 0 || !layout.Fits(output)) return std::nullopt;
  if (layout.block() != 1 && axes[1] != WholeAxis(shape[1])) return std::nullopt;
  AxisLists lists(axes.size());
  for (size_t d = 0; d < axes.size(); ++d) lists[layout.axis(static_cast<int>(d))] = axes[d];
  if (layout.block() != 1) {
    lists[layout.axis(1)] = WholeAxis(shape[1] / layout.block());
    lists.push_back(WholeAxis(layout.block()));
  }
  return lists;
}

}  // namespace

absl::StatusOr<bool> LowerAxisGather(LoweringContext& context, const AxisLists& axes,
                                     std::optional<int> fill) {
  std::optional<PhysicalLayout> layout = FoundLayout(context);
  std::optional<AxisLists> lists = axes;
  if (layout) lists = PhysicalLists(context, *layout, axes);
  if (!lists) {
    layout.reset();
    lists = axes;
  }
  const Shape& shape = context.input_shape(0);
  OCTET_ASSIGN_OR_RETURN(const int source, layout ? InFoundLayout(context) : context.Plain(0));
  const int target = layout ? OutputInFoundLayout(context, 0, *layout) : context.PlainOutput(0);
  const auto gather = std::make_shared<const AxisGather>(
      layout ? layout->Dims(shape) : shape, *lists, ByteSize(context.input_type(0).dtype));
  context.Emit(MakeKernel("octet:gather_axes",
                          [gather](const StepMemory& memory) {
                            gather->Run(memory.inputs[0], memory.outputs[0], memory.inputs[1]);
                            return absl::OkStatus();
                          }),
               {source, fill.value_or(-1)}, {target});
  return true;
}

}  // namespace octet::kernels
