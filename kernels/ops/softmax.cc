// Softmax, LogSoftmax and Hardmax. Up to opset 12 they normalize over all dimensions from `axis`
// on, taken together; since opset 13 over that one dimension.

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/dispatch_gate.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels::ops {
namespace {

using dnnl::memory;

// The elements as [outer, length, inner]; what is normalized lies along `length`.
struct Extent {
  int64_t outer = 1, length = 1, inner = 1;
};

template <bool kFlattens>
absl::StatusOr<Extent> ReadExtent(const graph::Node& node, const Shape& shape) {
  const int rank = static_cast<int>(shape.size());
  const int64_t given = node.Int("axis", kFlattens ? 1 : -1);
  Extent extent;
  if (kFlattens && given == rank) return Extent{.outer = ElementCount(shape)};
  OCTET_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(given, rank));
  for (int d = 0; d < rank; ++d) {
    (d < axis ? extent.outer : d == axis || kFlattens ? extent.length : extent.inner) *= shape[d];
  }
  return extent;
}

template <bool kFlattens>
absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  if (context.rank(0) > 0) {
    OCTET_RETURN_IF_ERROR(ReadExtent<kFlattens>(context.node(), context.shape(0)).status());
  }
  return SameAsInput(context);
}

enum class Kind { kSoftmax, kLogSoftmax, kHardmax };

// The exponentials, their logarithms or the maxima, and their sums.
template <Kind kKind>
void TakeAbove(const Extent& extent, const float* from, const std::vector<float>& peak, float* to,
               std::vector<double>& sum) {
  const int64_t inner = extent.inner;
  for (int64_t i = 0; i < extent.length; ++i) {
    for (int64_t j = 0; j < inner; ++j) {
      float& y = to[i * inner + j];
      const float above = from[i * inner + j] - peak[j];
      if constexpr (kKind == Kind::kHardmax) {  // the first of equal maxima
        y = above == 0 && sum[j] == 0 ? 1.0f : 0.0f;
        sum[j] += y;
      } else {
        y = kKind == Kind::kSoftmax ? std::exp(above) : above;
        sum[j] += kKind == Kind::kSoftmax ? y : std::exp(above);
      }
    }
  }
}

// One block [length, inner]; row by row, so that the inner loops are contiguous.
template <Kind kKind>
void Normalize(const Extent& extent, const float* from, float* to, std::vector<float>& peak,
               std::vector<double>& sum) {
  const int64_t inner = extent.inner;
  std::copy(from, from + inner, peak.begin());
  for (int64_t i = 1; i < extent.length; ++i) {
    for (int64_t j = 0; j < inner; ++j) peak[j] = std::max(peak[j], from[i * inner + j]);
  }
  std::fill(sum.begin(), sum.end(), 0);
  TakeAbove<kKind>(extent, from, peak, to, sum);
  if constexpr (kKind == Kind::kHardmax) return;
  for (int64_t i = 0; i < extent.length; ++i) {
    for (int64_t j = 0; j < inner; ++j) {
      float& y = to[i * inner + j];
      y = kKind == Kind::kSoftmax ? static_cast<float>(y / sum[j])
                                  : static_cast<float>(y - std::log(sum[j]));
    }
  }
}

template <Kind kKind, bool kFlattens>
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  Extent extent;
  if (!inputs[0].shape.empty()) {
    OCTET_ASSIGN_OR_RETURN(extent, ReadExtent<kFlattens>(node, inputs[0].shape));
  }
  if (inputs[0].size() == 0) return absl::OkStatus();
  std::vector<float> peak(static_cast<size_t>(extent.inner));
  std::vector<double> sum(peak.size());
  const int64_t block = extent.length * extent.inner;
  for (int64_t i = 0; i < extent.outer; ++i) {
    Normalize<kKind>(extent, inputs[0].As<float>().data() + i * block,
                     outputs[0].As<float>().data() + i * block, peak, sum);
  }
  return absl::OkStatus();
}

// As oneDNN sees it; rows first where they are contiguous, which is the fast case.
memory::desc BlockDesc(const Extent& extent, memory::data_type type) {
  if (extent.inner == 1) {
    return {{extent.outer, extent.length}, type, memory::format_tag::ab};
  }
  return {{extent.outer, extent.length, extent.inner}, type, memory::format_tag::abc};
}

template <Kind kKind, bool kFlattens>
absl::StatusOr<bool> Lower(LoweringContext& context) {
  const graph::TensorType& input = context.input_type(0);
  const graph::TensorType& output = context.output_type(0);
  if (!PlainDesc(input) || input.shape.empty()) return false;
  if (output.quant && (output.quant->axis || output.quant->zero_points[0] != 0)) {
    return absl::UnimplementedError("results of Softmax are quantized with a zero point of 0");
  }
  OCTET_ASSIGN_OR_RETURN(const Extent extent, ReadExtent<kFlattens>(context.node(), input.shape));
  dnnl::primitive_attr attributes = BaseAttributes();
  if (output.quant) attributes.set_scales_mask(DNNL_ARG_DST, 0);
  const memory::desc from = BlockDesc(extent, StorageType(input));
  const memory::desc to = BlockDesc(extent, StorageType(output));
  const dnnl::softmax_forward::primitive_desc desc(
      Engine(), dnnl::prop_kind::forward_inference,
      kKind == Kind::kSoftmax ? dnnl::algorithm::softmax_accurate : dnnl::algorithm::softmax_log,
      from, to, 1, attributes);
  if (IsReferenceImplementation(desc.impl_info_str(), false) && !output.quant) return false;
  PrimitiveCall call(context);
  OCTET_ASSIGN_OR_RETURN(const int source, context.Plain(0));
  call.Input(DNNL_ARG_SRC, source, from);
  if (output.quant) call.Scales(DNNL_ARG_DST, output.quant->scales);
  call.Output(DNNL_ARG_DST, context.PlainOutput(0), to);
  call.Emit(dnnl::softmax_forward(desc), desc);
  return true;
}

template <Kind kKind, bool kFlattens>
constexpr Operator Row(absl::string_view type) {
  return {.schema = {.type = type,
                     .since_version = kFlattens ? 1 : 13,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .infer = Infer<kFlattens>,
                     .reference = Reference<kKind, kFlattens>},
          .lower = kKind == Kind::kHardmax ? nullptr : Lower<kKind, kFlattens>};
}

constexpr Operator kOperators[] = {
    Row<Kind::kSoftmax, true>("Softmax"),       Row<Kind::kSoftmax, false>("Softmax"),
    Row<Kind::kLogSoftmax, true>("LogSoftmax"), Row<Kind::kLogSoftmax, false>("LogSoftmax"),
    Row<Kind::kHardmax, true>("Hardmax"),       Row<Kind::kHardmax, false>("Hardmax"),
};

}  // namespace

std::span<const Operator> softmax() { return kOperators; }

}  // namespace octet::kernels::ops
