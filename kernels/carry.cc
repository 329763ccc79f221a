#include "kernels/carry.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/reference_kernel.h"

namespace octet::kernels {

absl::StatusOr<bool> LowerCarry(LoweringContext& context) {
  if (!context.input_type(0).quant) return false;
  const graph::Node& node = context.node();
  std::vector<int> inputs, outputs;
  std::vector<TensorType> input_types, output_types;
  for (int i = 0; i < context.input_count(); ++i) {
    if (!context.has_input(i)) {
      inputs.push_back(-1);
      input_types.emplace_back();
      continue;
    }
    OCTET_ASSIGN_OR_RETURN(const int buffer, context.Plain(i));
    inputs.push_back(buffer);
    input_types.push_back(context.input_type(i));
  }
  for (int i = 0; i < static_cast<int>(node.outputs.size()); ++i) {
    if (!context.has_output(i)) {
      outputs.push_back(-1);
      output_types.emplace_back();
      continue;
    }
    if (context.output_type(i).quant != context.input_type(0).quant ||
        context.output_type(i).dtype != context.input_type(0).dtype) {
      return absl::UnimplementedError("input and output have different quantizers");
    }
    outputs.push_back(context.PlainOutput(i));
    output_types.push_back(context.output_type(i));
  }
  context.Emit(MakeReferenceKernel(node, std::move(input_types), std::move(output_types)),
               std::move(inputs), std::move(outputs));
  return true;
}

std::optional<PhysicalLayout> FoundLayout(const LoweringContext& context) {
  const std::optional<dnnl::memory::desc> desc = context.NativeDesc(0);
  if (!desc || context.input_shape(0).empty()) return std::nullopt;
  std::optional<PhysicalLayout> layout = PhysicalLayout::Of(*desc);
  if (layout && layout->row_major()) return std::nullopt;
  return layout;
}

absl::StatusOr<int> InFoundLayout(LoweringContext& context) {
  return context.InLayout(0, *context.NativeDesc(0));
}

int OutputInFoundLayout(LoweringContext& context, int i, const PhysicalLayout& layout) {
  return context.OutputInLayout(
      i, layout.Desc(context.output_shape(i), context.NativeDesc(0)->get_data_type()));
}

}  // namespace octet::kernels
