// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: float <-> integer codes, with one
// scale for the tensor, one per index of an axis, or one per block along an axis.
//
// Models that are run in integers lose these nodes: see graph/passes/absorb_quantization.cc.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kScale = 1, kZeroPoint = 2;

// Which scale belongs to which element. The tensor is seen as outer x length x inner.
struct ScaleLayout {
  int64_t outer = 1, length = 1, inner = 1;
  int64_t block = 1;     // elements along the axis that share a scale
  bool blocked = false;  // the inner dimensions have scales of their own too

  int64_t blocks() const { return (length + block - 1) / block; }
};

absl::StatusOr<ScaleLayout> ReadLayout(const graph::Node& node, const Shape& shape,
                                       const Shape& scale) {
  ScaleLayout layout;
  if (scale.size() <= 1 && ElementCount(scale) == 1) {
    layout.length = layout.block = ElementCount(shape);
    return layout;
  }
  const int rank = static_cast<int>(shape.size());
  OCTET_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(node.Int("axis", 1), rank));
  for (int d = 0; d < rank; ++d) {
    (d < axis ? layout.outer : d > axis ? layout.inner : layout.length) *= shape[d];
  }
  if (scale.size() == 1 && scale[0] == shape[axis]) return layout;
  layout.block = node.Int("block_size", 0);
  layout.blocked = true;
  Shape expected = shape;
  if (layout.block > 0) expected[axis] = layout.blocks();
  if (layout.block > 0 && scale == expected) return layout;
  return absl::InvalidArgumentError(absl::StrCat("scales of shape ", ToText(scale),
                                                 " do not fit the input ", ToText(shape),
                                                 " along axis ", axis));
}

bool IsCodeType(DataType type) {
  return type == DataType::kInt8 || type == DataType::kUint8 || type == DataType::kInt16 ||
         type == DataType::kUint16;
}

absl::Status CheckParameters(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kScale, DataType::kFloat32));
  OCTET_RETURN_IF_ERROR(
      ReadLayout(context.node(), context.shape(kInput), context.shape(kScale)).status());
  if (!context.has_input(kZeroPoint) ||
      ElementCount(context.shape(kZeroPoint)) == ElementCount(context.shape(kScale))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("zero points of shape ", ToText(context.shape(kZeroPoint)),
                   " beside scales of shape ", ToText(context.shape(kScale))));
}

// The type of the codes: the zero point's, or ONNX's number of one in an attribute.
absl::StatusOr<DataType> CodeType(const InferContext& context) {
  if (context.has_input(kZeroPoint)) {
    const DataType type = context.input(kZeroPoint).dtype;
    if (IsCodeType(type)) return type;
    return absl::InvalidArgumentError(absl::StrCat("codes cannot be ", Name(type)));
  }
  const int64_t number = context.node().Int("output_dtype", 0);
  constexpr DataType kTypes[] = {DataType::kUint8, DataType::kInt8, DataType::kUint16,
                                 DataType::kInt16};
  if (number == 0) return DataType::kUint8;
  if (number >= 2 && number <= 5) return kTypes[number - 2];
  return absl::UnimplementedError(absl::StrCat("codes of type number ", number));
}

absl::StatusOr<std::vector<TensorType>> InferQuantize(const InferContext& context) {
  const DataType type = context.input(kInput).dtype;
  if (type != DataType::kFloat32 && type != DataType::kInt32) {
    return absl::InvalidArgumentError(absl::StrCat("cannot quantize ", Name(type)));
  }
  OCTET_RETURN_IF_ERROR(CheckParameters(context));
  OCTET_ASSIGN_OR_RETURN(const DataType codes, CodeType(context));
  return std::vector<TensorType>{{.dtype = codes, .shape = context.shape(kInput)}};
}

absl::StatusOr<std::vector<TensorType>> InferDequantize(const InferContext& context) {
  const DataType type = context.input(kInput).dtype;
  if (!IsCodeType(type) && type != DataType::kInt32) {
    return absl::InvalidArgumentError(absl::StrCat("codes cannot be ", Name(type)));
  }
  OCTET_RETURN_IF_ERROR(CheckParameters(context));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kZeroPoint, type));
  return std::vector<TensorType>{{.shape = context.shape(kInput)}};
}

// Rounds half to even, as the specification asks. Exact for |x| < 2^22, which codes are; unlike
// std::nearbyint it is vectorized on every x86.
inline float RoundCode(float x) {
  constexpr float kShift = 12582912;  // 1.5 * 2^23: its last bit counts ones
  return (x + kShift) - kShift;
}

template <typename Code>
struct Quantizer {
  Quantizer(float quantizer_scale, Code zero) : scale(quantizer_scale), zero_point(zero) {
    lowest = std::numeric_limits<Code>::min() - zero_point;
    highest = std::numeric_limits<Code>::max() - zero_point;
  }
  Code operator()(float x) const {
    const float steps = x / scale;
    const float clamped = steps > highest ? highest : steps >= lowest ? steps : lowest;
    return static_cast<Code>(static_cast<int32_t>(RoundCode(clamped) + zero_point));
  }
  float scale, zero_point, lowest, highest;
};

template <typename Code>
struct Dequantizer {
  Dequantizer(float quantizer_scale, Code zero) : scale(quantizer_scale), zero_point(zero) {}
  float operator()(Code code) const {
    if constexpr (sizeof(Code) == 4) {
      return static_cast<float>(int64_t{code} - zero_point) * scale;
    }
    return static_cast<float>(static_cast<int32_t>(code) - zero_point) * scale;
  }
  float scale;
  int32_t zero_point;
};

// to[i] = Function(scale, zero point)(from[i]) with the parameters that belong to element i.
template <typename Code, typename Function, typename From, typename To>
void Convert(const ScaleLayout& layout, std::span<const float> scales,
             std::span<const Code> zero_points, const From* from, To* to) {
  const auto function = [&](int64_t i) {
    return Function(scales[i], zero_points.empty() ? Code{0} : zero_points[i]);
  };
  const int64_t step = layout.blocked ? layout.inner : 1;
  for (int64_t o = 0; o < layout.outer; ++o) {
    for (int64_t block = 0; block < layout.blocks(); ++block) {
      const int64_t end = std::min((block + 1) * layout.block, layout.length);
      const int64_t first = layout.blocked ? (o * layout.blocks() + block) * step : block;
      if (!layout.blocked) {
        const int64_t count = (end - block * layout.block) * layout.inner;
        const Function convert = function(first);
        for (int64_t i = 0; i < count; ++i) to[i] = convert(from[i]);
        from += count;
        to += count;
        continue;
      }
      for (int64_t at = block * layout.block; at < end; ++at) {
        for (int64_t i = 0; i < layout.inner; ++i) to[i] = function(first + i)(from[i]);
        from += layout.inner;
        to += layout.inner;
      }
    }
  }
}

template <typename Code>
std::span<const Code> ZeroPoints(std::span<const ConstTensorView> inputs) {
  if (inputs.size() <= kZeroPoint || !inputs[kZeroPoint].present()) return {};
  return inputs[kZeroPoint].As<Code>();
}

// Calls function with the C++ type of codes that shape inference has accepted.
template <typename Function>
void VisitCodes(DataType type, Function&& function) {
  VisitType(type, [&]<typename T>() {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) <= 4) {
      function.template operator()<T>();
    }
  });
}

absl::Status ReferenceQuantize(const graph::Node& node, std::span<const ConstTensorView> inputs,
                               std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const ScaleLayout layout,
                         ReadLayout(node, inputs[kInput].shape, inputs[kScale].shape));
  if (inputs[kInput].size() == 0) return absl::OkStatus();
  const auto scales = inputs[kScale].As<float>();
  VisitCodes(outputs[0].dtype, [&]<typename Code>() {
    Code* const to = outputs[0].As<Code>().data();
    const auto zero_points = ZeroPoints<Code>(inputs);
    if (inputs[kInput].dtype == DataType::kInt32) {
      Convert<Code, Quantizer<Code>>(layout, scales, zero_points,
                                     inputs[kInput].As<int32_t>().data(), to);
    } else {
      Convert<Code, Quantizer<Code>>(layout, scales, zero_points, inputs[kInput].As<float>().data(),
                                     to);
    }
  });
  return absl::OkStatus();
}

absl::Status ReferenceDequantize(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                 std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const ScaleLayout layout,
                         ReadLayout(node, inputs[kInput].shape, inputs[kScale].shape));
  if (inputs[kInput].size() == 0) return absl::OkStatus();
  VisitCodes(inputs[kInput].dtype, [&]<typename Code>() {
    Convert<Code, Dequantizer<Code>>(layout, inputs[kScale].As<float>(), ZeroPoints<Code>(inputs),
                                     inputs[kInput].As<Code>().data(),
                                     outputs[0].As<float>().data());
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorType>> InferDynamic(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kInput, DataType::kFloat32));
  return std::vector<TensorType>{{.dtype = DataType::kUint8, .shape = context.shape(kInput)},
                                 {.dtype = DataType::kFloat32},
                                 {.dtype = DataType::kUint8}};
}

absl::Status ReferenceDynamic(const graph::Node&, std::span<const ConstTensorView> inputs,
                              std::span<TensorView> outputs) {
  const auto from = inputs[kInput].As<float>();
  float low = 0, high = 0;  // zero is always among the codes
  for (const float x : from) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  const float scale = high == low ? 1 : (high - low) / 255;
  const float zero = std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f));
  const auto zero_point = static_cast<uint8_t>(zero >= 0 ? zero : 0);
  if (outputs[0].present()) {
    const Quantizer<uint8_t> quantize(scale, zero_point);
    const auto to = outputs[0].As<uint8_t>();
    for (size_t i = 0; i < to.size(); ++i) to[i] = quantize(from[i]);
  }
  if (outputs.size() > 1 && outputs[1].present()) outputs[1].As<float>()[0] = scale;
  if (outputs.size() > 2 && outputs[2].present()) outputs[2].As<uint8_t>()[0] = zero_point;
  return absl::OkStatus();
}

constexpr Operator Row(absl::string_view type, int max_inputs, graph::InferFn infer,
                       graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = max_inputs == 1 ? 1 : 2,
                     .max_inputs = max_inputs,
                     .infer = infer,
                     .reference = reference}};
}

constexpr std::array kOperators = {
    Row("QuantizeLinear", 3, InferQuantize, ReferenceQuantize),
    Row("DequantizeLinear", 3, InferDequantize, ReferenceDequantize),
    Row("DynamicQuantizeLinear", 1, InferDynamic, ReferenceDynamic),
    // ONNX Runtime's own, older than ONNX's 16-bit codes; replaced by the two above.
    Row("com.microsoft.QuantizeLinear", 3, InferQuantize, nullptr),
    Row("com.microsoft.DequantizeLinear", 3, InferDequantize, nullptr),
};

}  // namespace

std::span<const Operator> quantize_linear() { return kOperators; }

}  // namespace octet::kernels::ops
