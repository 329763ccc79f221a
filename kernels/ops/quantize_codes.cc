// octet.Quantize and octet.Dequantize: between float32 and the integer codes of a value's type. On
// real numbers both are the identity; what they do is round.

#include "base/status.h"
#include "kernels/channel_padding.h"
#include "kernels/channels_last.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"
#include "kernels/row_quantizer.h"

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

// Floats to codes that lie as the floats do: one pass of our own.
void EmitInPlace(LoweringContext& context, int floats, const dnnl::memory::desc& to) {
  const TensorType& output = context.output_type(0);
  const int64_t size = ElementCount(output.shape);
  const float scale = output.quant->scales[0];
  const int32_t zero_point = output.quant->zero_points[0];
  const bool is_unsigned = output.dtype == DataType::kUint8;
  context.Emit(MakeKernel("octet:quantize",
                          [=](const StepMemory& memory) {
                            const auto* from = reinterpret_cast<const float*>(memory.inputs[0]);
                            std::byte* const codes = memory.outputs[0];
                            if (is_unsigned) {
                              QuantizeElements(from, size, scale, zero_point,
                                               reinterpret_cast<uint8_t*>(codes));
                            } else {
                              QuantizeElements(from, size, scale, zero_point,
                                               reinterpret_cast<int8_t*>(codes));
                            }
                            return absl::OkStatus();
                          }),
               {floats}, {context.OutputInLayout(0, to)});
}

// Where the result lies. Int8 kernels read images channels last, but for images of few channels,
// whose planes convolutions interleave and pad themselves; matrix products read tokens as they lie.
dnnl::memory::desc ResultDesc(const TensorType& output, const dnnl::memory::desc& plain) {
  const bool image = output.shape.size() >= 4;
  if (output.quant && image && output.shape[1] >= kPaddedChannels) return ChannelsLast(output);
  return plain;
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const TensorType& input = context.input_type(0);
  const TensorType& output = context.output_type(0);
  const std::optional<dnnl::memory::desc> from = context.NativeDesc(0);
  const std::optional<dnnl::memory::desc> plain = PlainDesc(output);
  if (!from || !plain) {
    return absl::UnimplementedError("codes of this shape have no kernel");
  }
  const dnnl::memory::desc to = ResultDesc(output, *plain);
  if (output.quant && input.dtype == DataType::kFloat32 && !input.quant &&
      from->get_inner_nblks() == 0 && from->get_submemory_offset() == 0 &&
      from->get_dims() == to.get_dims() && from->get_strides() == to.get_strides()) {
    OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, *from));
    EmitInPlace(context, source, to);
    return true;
  }
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
