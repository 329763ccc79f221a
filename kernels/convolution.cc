#include "kernels/convolution.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channel_padding.h"
#include "kernels/channels_last.h"
#include "kernels/dispatch_gate.h"
#include "kernels/packed_layout.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"
#include "kernels/quantization_attributes.h"
#include "kernels/row_quantizer.h"
#include "kernels/window.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
constexpr int kInput = 0, kWeight = 1, kBias = 2;
constexpr char kPaddedForm[] = "padded ";  // weights with zeros for further input channels

memory::dims Dims(const Shape& shape) { return {shape.begin(), shape.end()}; }

class ConvolutionLowering {
 public:
  ConvolutionLowering(LoweringContext& context, ConvGeometry geometry)
      : context_(context),
        geometry_(std::move(geometry)),
        input_(context.input_type(kInput)),
        weight_(context.input_type(kWeight)),
        output_(context.output_type(0)) {}

  absl::Status Run() {
    OCTET_RETURN_IF_ERROR(ChooseArithmetic());
    if (int8_) OCTET_RETURN_IF_ERROR(SetQuantization(Operands(), attributes_));
    if (dynamic_) chain_ = FusedChain::PerSample();
    OCTET_RETURN_IF_ERROR(chain_.Append(context_, attributes_));
    const dnnl::convolution_forward::primitive_desc desc =
        bfloat16_ ? DescribeBFloat16() : Describe();
    PrimitiveCall call(context_);
    OCTET_RETURN_IF_ERROR(BindSource(desc, call));
    OCTET_ASSIGN_OR_RETURN(const int weights, Weights(desc.weights_desc()));
    call.Input(DNNL_ARG_WEIGHTS, weights, desc.weights_desc());
    if (context_.has_input(kBias)) {
      OCTET_ASSIGN_OR_RETURN(const int bias, context_.Plain(kBias));
      call.Input(DNNL_ARG_BIAS, bias, desc.bias_desc());
    }
    if (int8_) BindQuantization(Operands(), call);
    OCTET_ASSIGN_OR_RETURN(
        const int output,
        chain_.BindOutput(context_, desc, dynamic_ ? ChannelsLast(output_) : desc.dst_desc(),
                          call));
    call.Output(DNNL_ARG_DST, output, desc.dst_desc(), dynamic_ ? desc.dst_desc().get_size() : 0);
    const int64_t macs = ElementCount(output_.shape) * ElementCount(weight_.shape) /
                         std::max<int64_t>(weight_.shape[0], 1);
    call.Emit(dnnl::convolution_forward(desc), desc,
              {.macs = macs, .int8 = int8_, .bfloat16 = bfloat16_}, dynamic_ ? input_.shape[0] : 1);
    return absl::OkStatus();
  }

 private:
  absl::Status ChooseArithmetic() {
    int8_ = weight_.quant.has_value();
    dynamic_ = int8_ && !input_.quant;
    bfloat16_ = weight_.dtype == DataType::kBFloat16;
    if (input_.quant && !int8_) {
      return absl::UnimplementedError("a quantized input with float weights");
    }
    if (int8_ && weight_.quant->axis && *weight_.quant->axis != 0) {
      return absl::UnimplementedError(absl::StrCat("the weights have scales along dimension ",
                                                   *weight_.quant->axis, ", expected 0"));
    }
    // Dense planes of a few channels are interleaved and padded in one pass.
    const bool few = input_.shape[1] < kPaddedChannels && geometry_.groups == 1;
    const auto native = context_.NativeDesc(kInput);
    pads_channels_ =
        int8_ && few && context_.is_constant(kWeight) && native && *native == *PlainDesc(input_);
    channels_ = pads_channels_ ? kPaddedChannels : input_.shape[1];
    return absl::OkStatus();
  }

  QuantizedOperands Operands() const {
    const int per_channel = geometry_.groups > 1 ? 3 : 1;  // groups are a dimension of their own
    return {.source = dynamic_ ? nullptr : &input_,
            .weights = weight_,
            .destination = output_,
            .weights_mask = weight_.quant->axis ? per_channel : 0};
  }

  // What one run of the primitive reads, channels last: codes, all images or one.
  graph::TensorType SourceCodes() const {
    graph::TensorType codes = {.dtype = dynamic_ ? DataType::kUint8 : input_.dtype,
                               .shape = input_.shape};
    if (dynamic_) codes.shape[0] = 1;
    codes.shape[1] = channels_;
    return codes;
  }

  // Weights as oneDNN wants them: with the groups as a dimension of their own.
  graph::TensorType GroupedWeights() const {
    graph::TensorType grouped = weight_;
    grouped.shape[1] = geometry_.groups > 1 ? weight_.shape[1] : channels_;
    if (geometry_.groups == 1) return grouped;
    grouped.shape[0] /= geometry_.groups;
    grouped.shape.insert(grouped.shape.begin(), geometry_.groups);
    return grouped;
  }

  // Channels last, which most of oneDNN's bfloat16 kernels read; where that has none but reference
  // code, as it likes.
  dnnl::convolution_forward::primitive_desc DescribeBFloat16() const {
    graph::TensorType source = input_;
    source.dtype = DataType::kBFloat16;
    graph::TensorType destination = output_;
    if (context_.OutputMayBeBFloat16(0)) destination.dtype = DataType::kBFloat16;
    auto desc = Describe(ChannelsLast(source), ChannelsLast(destination));
    if (!IsReferenceImplementation(desc.impl_info_str(), /*int8=*/false)) return desc;
    const auto any = memory::format_tag::any;
    return Describe({Dims(input_.shape), memory::data_type::bf16, any},
                    {Dims(output_.shape), memory::data_type::f32, any});
  }

  dnnl::convolution_forward::primitive_desc Describe() const {
    const auto any = memory::format_tag::any;
    memory::desc source(Dims(input_.shape), memory::data_type::f32, any);
    memory::desc destination(Dims(output_.shape), memory::data_type::f32, any);
    if (int8_) {
      graph::TensorType result = output_;
      if (dynamic_) result.shape[0] = 1;
      source = ChannelsLast(SourceCodes());
      destination = ChannelsLast(result);
    }
    return Describe(source, destination);
  }

  dnnl::convolution_forward::primitive_desc Describe(const memory::desc& source,
                                                     const memory::desc& destination) const {
    const memory::desc weights(Dims(GroupedWeights().shape), StorageType(weight_),
                               memory::format_tag::any);
    const memory::desc bias =
        context_.has_input(kBias)
            ? memory::desc({weight_.shape[0]}, memory::data_type::f32, memory::format_tag::x)
            : memory::desc();
    const auto packed = context_.is_constant(kWeight)
                            ? context_.PackedLayouts(kWeight, pads_channels_ ? kPaddedForm : "")
                            : std::vector<memory::desc>();
    return DescribeWithPacked(
        weights, packed, context_.is_constant(kWeight) && !context_.constant(kWeight).has_bytes(),
        int8_,
        [&](const memory::desc& desc,
            bool allow_empty) -> dnnl::convolution_forward::primitive_desc {
          return {Engine(),
                  dnnl::prop_kind::forward_inference,
                  dnnl::algorithm::convolution_direct,
                  source,
                  desc,
                  bias,
                  destination,
                  geometry_.strides,
                  geometry_.DnnlDilations(),
                  geometry_.pads_begin,
                  geometry_.DnnlPadsEnd(),
                  attributes_,
                  allow_empty};
        });
  }

  absl::Status BindSource(const dnnl::convolution_forward::primitive_desc& desc,
                          PrimitiveCall& call) {
    if (dynamic_) return BindImages(desc.src_desc(), call);
    int source = -1;
    if (pads_channels_) {
      OCTET_ASSIGN_OR_RETURN(source, context_.Plain(kInput));
      source = Interleaved(source);
    } else {
      OCTET_ASSIGN_OR_RETURN(source, context_.InLayout(kInput, desc.src_desc()));
    }
    call.Input(DNNL_ARG_SRC, source, desc.src_desc());
    return absl::OkStatus();
  }

  // Float images, each quantized by its own range.
  absl::Status BindImages(const memory::desc& image, PrimitiveCall& call) {
    int floats = -1;
    if (pads_channels_) {
      OCTET_ASSIGN_OR_RETURN(floats, context_.Plain(kInput));
    } else {
      OCTET_ASSIGN_OR_RETURN(floats, context_.InLayout(kInput, ChannelsLast(input_)));
    }
    const int64_t images = input_.shape[0];
    const int64_t elements = ElementCount(input_.shape) / images;
    int codes = context_.Temporary(static_cast<size_t>(images * elements));
    const int scales = context_.Temporary(static_cast<size_t>(images) * sizeof(float));
    const int zero_points = context_.Temporary(static_cast<size_t>(images) * sizeof(int32_t));
    context_.Emit(MakeKernel("octet:quantize_images_u8",
                             [images, elements](const StepMemory& memory) {
                               QuantizeRowsToUint8(reinterpret_cast<const float*>(memory.inputs[0]),
                                                   {images, elements, elements},
                                                   reinterpret_cast<uint8_t*>(memory.outputs[0]),
                                                   reinterpret_cast<float*>(memory.outputs[1]),
                                                   reinterpret_cast<int32_t*>(memory.outputs[2]));
                               return absl::OkStatus();
                             }),
                  {floats}, {codes, scales, zero_points});
    if (pads_channels_) codes = Interleaved(codes);
    call.Input(DNNL_ARG_SRC, codes, image, image.get_size());
    call.Input(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, scales,
               {{1}, memory::data_type::f32, memory::format_tag::x}, sizeof(float));
    call.Input(DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, zero_points,
               {{1}, memory::data_type::s32, memory::format_tag::x}, sizeof(int32_t));
    return absl::OkStatus();
  }

  // The codes of dense planes as pixels of kPaddedChannels.
  int Interleaved(int planes) {
    const int64_t images = input_.shape[0], channels = input_.shape[1];
    const int64_t pixels = geometry_.InputPlane();
    const int padded = context_.Temporary(static_cast<size_t>(images * pixels * kPaddedChannels));
    context_.Emit(MakeKernel("octet:interleave_planes",
                             [=](const StepMemory& memory) {
                               const auto* from =
                                   reinterpret_cast<const uint8_t*>(memory.inputs[0]);
                               auto* to = reinterpret_cast<uint8_t*>(memory.outputs[0]);
                               for (int64_t n = 0; n < images; ++n) {
                                 InterleavePlanes(from + n * channels * pixels, channels, pixels,
                                                  to + n * kPaddedChannels * pixels);
                               }
                               return absl::OkStatus();
                             }),
                  {planes}, {padded});
    return padded;
  }

  absl::StatusOr<int> Weights(const memory::desc& wanted) {
    const memory::desc grouped = *PlainDesc(GroupedWeights());
    if (!context_.is_constant(kWeight)) return ReorderedWeights(grouped, wanted);
    if (!pads_channels_) return context_.PackedWeight(kWeight, grouped, wanted);
    return context_.PackedWeight(
        kWeight, context_.PackedName(kWeight, kPaddedForm, wanted),
        [&]() -> absl::StatusOr<Tensor> {
          std::vector<int8_t> padded = PaddedWeights(context_.constant(kWeight).As<int8_t>());
          OCTET_ASSIGN_OR_RETURN(
              Tensor packed,
              Tensor::Allocate(DataType::kUint8, {static_cast<int64_t>(wanted.get_size())}));
          memory source(grouped, Engine(), padded.data());
          memory target(wanted, Engine(), packed.mutable_data());
          dnnl::stream stream(Engine());
          dnnl::reorder(source, target).execute(stream, source, target);
          stream.wait();
          return packed;
        });
  }

  // Zeros for the channels that the images are padded with.
  std::vector<int8_t> PaddedWeights(std::span<const int8_t> weights) const {
    const int64_t outputs = weight_.shape[0], taps = geometry_.Taps();
    const int64_t from = weight_.shape[1] * taps, to = kPaddedChannels * taps;
    std::vector<int8_t> padded(static_cast<size_t>(outputs * to), 0);
    for (int64_t o = 0; o < outputs; ++o) {
      std::copy_n(weights.begin() + o * from, from, padded.begin() + o * to);
    }
    return padded;
  }

  // Weights that a request brings are packed in every run.
  absl::StatusOr<int> ReorderedWeights(const memory::desc& grouped, const memory::desc& wanted) {
    OCTET_ASSIGN_OR_RETURN(const int plain, context_.Plain(kWeight));
    if (grouped == wanted) return plain;
    const dnnl::reorder::primitive_desc desc(Engine(), grouped, Engine(), wanted, BaseAttributes());
    const int packed = context_.Temporary(wanted.get_size());
    PrimitiveCall call(context_);
    call.Input(DNNL_ARG_FROM, plain, grouped);
    call.Output(DNNL_ARG_TO, packed, wanted);
    call.Emit(dnnl::reorder(desc), desc);
    return packed;
  }

  LoweringContext& context_;
  const ConvGeometry geometry_;
  const graph::TensorType& input_;
  const graph::TensorType& weight_;
  const graph::TensorType& output_;
  bool int8_ = false;
  bool dynamic_ = false;
  bool bfloat16_ = false;
  bool pads_channels_ = false;
  int64_t channels_ = 0;  // of the images as the primitive reads them
  dnnl::primitive_attr attributes_ = BaseAttributes();
  FusedChain chain_;
};

}  // namespace

absl::StatusOr<bool> LowerConvolution(LoweringContext& context) {
  constexpr size_t kMostDimensions = 5;
  const graph::TensorType& input = context.input_type(kInput);
  const graph::TensorType& weight = context.input_type(kWeight);
  if (!PlainDesc(input) || !PlainDesc(weight) || !PlainDesc(context.output_type(0)) ||
      input.shape.size() > kMostDimensions) {
    return false;
  }
  if (weight.dtype == DataType::kBFloat16 && !context.is_constant(kWeight)) {
    return absl::UnimplementedError("expected bfloat16 weights as a constant");
  }
  OCTET_ASSIGN_OR_RETURN(ConvGeometry geometry,
                         ReadConvGeometry(context.node(), input.shape, weight.shape));
  OCTET_RETURN_IF_ERROR(ConvolutionLowering(context, std::move(geometry)).Run());
  return true;
}

}  // namespace octet::kernels
