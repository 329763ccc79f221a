// octet.Quantize and octet.Dequantize: between float32 and the integer codes of a value's type. On
// real numbers both are the identity; what they do is round.

#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

void Describe(const TensorType& type, int argument, dnnl::primitive_attr& attributes) {
  if (!type.quant) return;
  attributes.set_scales_mask(argument, 0);
  if (type.quant->zero_points[0] != 0) attributes.set_zero_points_mask(argument, 0);
}

void Bind(const TensorType& type, int argument, PrimitiveCall& call) {
  if (!type.quant) return;
  call.Scales(argument, type.quant->scales);
  if (type.quant->zero_points[0] != 0) call.ZeroPoint(argument, type.quant->zero_points[0]);
}

// Int8 kernels read channels last: codes of images are made that way. Floats keep the layout that
// the codes had.
absl::StatusOr<bool> Lower(LoweringContext& context) {
  const TensorType& input = context.input_type(0);
  const TensorType& output = context.output_type(0);
  const std::optional<dnnl::memory::desc> from = context.NativeDesc(0);
  const std::optional<dnnl::memory::desc> plain = PlainDesc(output);
  if (!from || !plain) {
    return absl::UnimplementedError("codes of this shape have no kernel");
  }
  dnnl::memory::desc to = *plain;
  if (output.quant && output.shape.size() >= 3) to = ChannelsLast(output);
  dnnl::primitive_attr attributes = BaseAttributes();
  Describe(input, DNNL_ARG_SRC, attributes);
  Describe(output, DNNL_ARG_DST, attributes);
  const dnnl::reorder::primitive_desc desc(Engine(), *from, Engine(), to, attributes);
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, *from));
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_FROM, source, *from);
  Bind(input, DNNL_ARG_SRC, call);
  Bind(output, DNNL_ARG_DST, call);
  call.Output(DNNL_ARG_TO, context.OutputInLayout(0, to), to);
  call.Emit(dnnl::reorder(desc), desc);
  return true;
}

constexpr Operator Conversion(absl::string_view type) {
  return {.schema = {.type = type, .min_inputs = 1, .max_inputs = 1, .infer = SameAsInput},
          .lower = Lower};
}

constexpr Operator kOperators[] = {
    Conversion("octet.Quantize"),
    Conversion("octet.Dequantize"),
};

}  // namespace

std::span<const Operator> quantize_codes() { return kOperators; }

}  // namespace octet::kernels::ops
