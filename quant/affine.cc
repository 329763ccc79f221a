#include "quant/affine.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/vector_loops.h"

namespace octet::quant {
namespace {

absl::Status CheckParams(const graph::QuantParams& params, const ChannelLayout& layout) {
  const auto wanted = static_cast<size_t>(params.axis.has_value() ? layout.channels : 1);
  if (params.scales.size() != wanted || params.zero_points.size() != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", wanted, " scales and zero points, found ", params.scales.size(),
                     " and ", params.zero_points.size()));
  }
  for (size_t i = 0; i < wanted; ++i) {
    if (!(params.scales[i] > 0) || !std::isfinite(params.scales[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("scale ", i, " must be positive and finite, not ", params.scales[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckZeroPoints(const graph::QuantParams& params, int32_t first, int32_t last) {
  for (const int32_t zero_point : params.zero_points) {
    if (zero_point < first || zero_point > last) {
      return absl::InvalidArgumentError(
          absl::StrCat("zero point ", zero_point, " is outside the codes ", first, " to ", last));
    }
  }
  return absl::OkStatus();
}

// Calls function(affine, offset) for every run of layout.inner elements of one channel.
template <typename Function>
void ForEachRun(const ChannelLayout& layout, const graph::QuantParams& params,
                const Function& function) {
  for (int64_t outer = 0; outer < layout.outer; ++outer) {
    for (int64_t channel = 0; channel < layout.channels; ++channel) {
      const auto index = static_cast<size_t>(channel);
      const auto offset = static_cast<size_t>((outer * layout.channels + channel) * layout.inner);
      function(Affine{params.scales[index], params.zero_points[index]}, offset);
    }
  }
}

template <typename Code>
void DequantizeSpan(std::span<const Code> codes, Affine affine, std::span<float> values) {
  for (size_t i = 0; i < codes.size(); ++i) {
    values[i] = affine.scale * static_cast<float>(codes[i] - affine.zero_point);
  }
}

}  // namespace

Affine AffineFor(Range range, const Grid& grid) {
  const double low = std::min(range.low, 0.0f);
  const double high = std::max(range.high, 0.0f);
  if (low == 0 && high == 0) return {};
  if (grid.symmetric) {
    const auto scale = static_cast<float>(std::max(-low, high) / grid.last);
    return {std::max(scale, kSmallestScale), 0};
  }
  const float scale = std::max(static_cast<float>((high - low) / grid.steps()), kSmallestScale);
  const double zero_point = std::nearbyint(grid.first - low / scale);
  return {scale, static_cast<int32_t>(std::clamp<double>(zero_point, grid.first, grid.last))};
}

Range RangeOf(Affine affine, const Grid& grid) {
  return {affine.scale * static_cast<float>(grid.first - affine.zero_point),
          affine.scale * static_cast<float>(grid.last - affine.zero_point)};
}

graph::QuantParams ToQuantParams(Affine affine) {
  return {.scales = {affine.scale}, .zero_points = {affine.zero_point}};
}

void Quantize(std::span<const float> values, Affine affine, const Grid& grid,
              std::span<int8_t> codes) {
  QuantizeLoop(values, affine, grid, codes.data());
}

void Quantize(std::span<const float> values, Affine affine, const Grid& grid,
              std::span<uint8_t> codes) {
  QuantizeLoop(values, affine, grid, codes.data());
}

void Dequantize(std::span<const int8_t> codes, Affine affine, std::span<float> values) {
  DequantizeSpan(codes, affine, values);
}

void Dequantize(std::span<const uint8_t> codes, Affine affine, std::span<float> values) {
  DequantizeSpan(codes, affine, values);
}

absl::StatusOr<ChannelLayout> LayoutAlong(const Shape& shape, std::optional<int> axis) {
  if (!axis.has_value()) return ChannelLayout{.inner = ElementCount(shape)};
  if (*axis < 0 || *axis >= static_cast<int>(shape.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", *axis, " is no dimension of shape ", ToText(shape)));
  }
  ChannelLayout layout;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    if (i < *axis) layout.outer *= shape[i];
    if (i == *axis) layout.channels = shape[i];
    if (i > *axis) layout.inner *= shape[i];
  }
  return layout;
}

absl::StatusOr<Tensor> QuantizeTensor(const ConstTensorView& values,
                                      const graph::QuantParams& params, const Grid& grid) {
  if (values.dtype != DataType::kFloat32) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a FP32 tensor to quantize, found ", Name(values.dtype)));
  }
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout, LayoutAlong(values.shape, params.axis));
  OCTET_RETURN_IF_ERROR(CheckParams(params, layout));
  OCTET_RETURN_IF_ERROR(CheckZeroPoints(params, grid.first, grid.last));
  OCTET_ASSIGN_OR_RETURN(Tensor codes, Tensor::Allocate(grid.type, values.shape));
  const auto inner = static_cast<size_t>(layout.inner);
  ForEachRun(layout, params, [&](Affine affine, size_t offset) {
    const std::span<const float> run = values.As<float>().subspan(offset, inner);
    if (grid.type == DataType::kInt8) {
      Quantize(run, affine, grid, codes.MutableAs<int8_t>().subspan(offset, inner));
    } else {
      Quantize(run, affine, grid, codes.MutableAs<uint8_t>().subspan(offset, inner));
    }
  });
  return codes;
}

absl::StatusOr<Tensor> DequantizeTensor(const ConstTensorView& codes,
                                        const graph::QuantParams& params) {
  if (codes.dtype != DataType::kInt8 && codes.dtype != DataType::kUint8) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected INT8 or UINT8 codes, found ", Name(codes.dtype)));
  }
  const bool is_signed = codes.dtype == DataType::kInt8;
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout, LayoutAlong(codes.shape, params.axis));
  OCTET_RETURN_IF_ERROR(CheckParams(params, layout));
  OCTET_RETURN_IF_ERROR(CheckZeroPoints(params, is_signed ? -128 : 0, is_signed ? 127 : 255));
  OCTET_ASSIGN_OR_RETURN(Tensor values, Tensor::Allocate(DataType::kFloat32, codes.shape));
  const auto inner = static_cast<size_t>(layout.inner);
  ForEachRun(layout, params, [&](Affine affine, size_t offset) {
    const std::span<float> run = values.MutableAs<float>().subspan(offset, inner);
    if (is_signed) {
      Dequantize(codes.As<int8_t>().subspan(offset, inner), affine, run);
    } else {
      Dequantize(codes.As<uint8_t>().subspan(offset, inner), affine, run);
    }
  });
  return values;
}

}  // namespace octet::quant
