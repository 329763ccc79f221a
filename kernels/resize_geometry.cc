#include "kernels/resize_geometry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/axis_gather.h"
#include "kernels/infer.h"

namespace octet::kernels {
namespace {

template <typename T, size_t kSize>
absl::StatusOr<T> Named(const graph::Node& node, absl::string_view attribute,
                        absl::string_view fallback,
                        const std::array<std::pair<absl::string_view, T>, kSize>& names) {
  const std::string name = node.String(attribute, fallback);
  for (const auto& [known, value] : names) {
    if (name == known) return value;
  }
  return absl::InvalidArgumentError(absl::StrCat(attribute, " ", name, " is not known"));
}

constexpr std::array<std::pair<absl::string_view, ResizeMode>, 3> kModes = {{
    {"nearest", ResizeMode::kNearest},
    {"linear", ResizeMode::kLinear},
    {"cubic", ResizeMode::kCubic},
}};
constexpr std::array<std::pair<absl::string_view, CoordinateMode>, 7> kCoordinateModes = {{
    {"half_pixel", CoordinateMode::kHalfPixel},
    {"half_pixel_symmetric", CoordinateMode::kHalfPixelSymmetric},
    {"pytorch_half_pixel", CoordinateMode::kPytorchHalfPixel},
    {"align_corners", CoordinateMode::kAlignCorners},
    {"asymmetric", CoordinateMode::kAsymmetric},
    {"tf_half_pixel_for_nn", CoordinateMode::kTfHalfPixelForNn},
    {"tf_crop_and_resize", CoordinateMode::kTfCropAndResize},
}};
constexpr std::array<std::pair<absl::string_view, NearestMode>, 4> kNearestModes = {{
    {"round_prefer_floor", NearestMode::kRoundPreferFloor},
    {"round_prefer_ceil", NearestMode::kRoundPreferCeil},
    {"floor", NearestMode::kFloor},
    {"ceil", NearestMode::kCeil},
}};

enum class AspectPolicy { kStretch, kNotLarger, kNotSmaller };
constexpr std::array<std::pair<absl::string_view, AspectPolicy>, 3> kAspectPolicies = {{
    {"stretch", AspectPolicy::kStretch},
    {"not_larger", AspectPolicy::kNotLarger},
    {"not_smaller", AspectPolicy::kNotSmaller},
}};

// The output size as ONNX's own shape inference computes it: in single precision.
absl::StatusOr<int64_t> ScaledSize(int64_t input, float scale) {
  constexpr float kLargest = 1e12f;
  const float size = std::floor(static_cast<float>(input) * scale);
  if (scale > 0 && size <= kLargest) return static_cast<int64_t>(size);
  return absl::InvalidArgumentError(absl::StrCat("scale ", scale, " of a dimension of ", input));
}

absl::Status ApplyScales(const std::vector<int>& axes, const std::vector<float>& scales,
                         std::vector<ResizeAxis>& result) {
  for (size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& axis = result[axes[i]];
    axis.scale = scales[i];
    OCTET_ASSIGN_OR_RETURN(axis.output, ScaledSize(axis.input, scales[i]));
  }
  return absl::OkStatus();
}

absl::Status ApplySizes(const std::vector<int>& axes, const std::vector<int64_t>& sizes,
                        AspectPolicy policy, std::vector<ResizeAxis>& result) {
  std::optional<double> common;
  for (size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& axis = result[axes[i]];
    if (sizes[i] < 0 || (axis.input == 0 && sizes[i] > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a dimension of ", axis.input, " cannot become ", sizes[i]));
    }
    axis.output = sizes[i];
    if (axis.input == 0) continue;
    axis.scale = static_cast<double>(sizes[i]) / static_cast<double>(axis.input);
    common = policy == AspectPolicy::kNotLarger ? std::min(common.value_or(axis.scale), axis.scale)
                                                : std::max(common.value_or(axis.scale), axis.scale);
  }
  if (policy == AspectPolicy::kStretch || !common) return absl::OkStatus();
  for (const int d : axes) {
    ResizeAxis& axis = result[d];
    axis.scale = *common;
    const double size = std::floor(*common * static_cast<double>(axis.input) + 0.5);
    if (size > 1e12) return absl::InvalidArgumentError("the result is too large");
    axis.output = static_cast<int64_t>(size);
  }
  return absl::OkStatus();
}

absl::Status ApplyCrop(const std::vector<int>& axes, const std::vector<float>& roi,
                       std::vector<ResizeAxis>& result) {
  if (roi.size() != 2 * axes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the region of interest has ", roi.size(),
                                                   " numbers, expected ", 2 * axes.size()));
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    result[axes[i]].crop_begin = roi[i];
    result[axes[i]].crop_end = roi[axes.size() + i];
  }
  return absl::OkStatus();
}

bool IsWhole(const ResizeAxis& axis, CoordinateMode mode) {
  if (axis.input != axis.output || axis.scale != 1.0) return false;
  return mode != CoordinateMode::kTfCropAndResize ||
         (axis.crop_begin == 0.0 && axis.crop_end == 1.0);
}

// The position in the input that an output position stands for; not clamped.
double SourceOf(CoordinateMode mode, const ResizeAxis& axis, int64_t output) {
  const auto x = static_cast<double>(output);
  const auto input = static_cast<double>(axis.input);
  const double width = axis.scale * input;  // the output's width, before it was rounded
  const double half_pixel = (x + 0.5) / axis.scale - 0.5;
  switch (mode) {
    case CoordinateMode::kAlignCorners:
      return width == 1 ? 0 : x * (input - 1) / (width - 1);
    case CoordinateMode::kAsymmetric:
      return x / axis.scale;
    case CoordinateMode::kPytorchHalfPixel:
      return width == 1 ? -0.5 : half_pixel;
    case CoordinateMode::kTfHalfPixelForNn:
      return (x + 0.5) / axis.scale;
    case CoordinateMode::kHalfPixelSymmetric:
      return input / 2 * (1 - static_cast<double>(axis.output) / width) + half_pixel;
    case CoordinateMode::kTfCropAndResize: {
      const double size = (axis.crop_end - axis.crop_begin) * (input - 1);
      const double offset = width == 1 ? size / 2 : x * size / (width - 1);
      return offset + axis.crop_begin * (input - 1);
    }
    case CoordinateMode::kHalfPixel:
      break;
  }
  return half_pixel;
}

// Only cropping asks for elements outside the image; not-a-number is outside too.
bool IsOutside(CoordinateMode mode, const ResizeAxis& axis, double x) {
  return mode == CoordinateMode::kTfCropAndResize &&
         !(x >= 0 && x <= static_cast<double>(axis.input - 1));
}

double RoundTo(NearestMode mode, double scale, double x) {
  switch (mode) {
    case NearestMode::kRoundPreferFloor:
      return std::ceil(x - 0.5);
    case NearestMode::kRoundPreferCeil:
      return std::floor(x + 0.5);
    case NearestMode::kCeil:
      return std::ceil(x);
    case NearestMode::kFloorOrCeil:
      return scale < 1 ? std::ceil(x) : std::floor(x);
    case NearestMode::kFloor:
      break;
  }
  return std::floor(x);
}

// Keys, R. G. (1981). Cubic convolution interpolation for digital image processing. IEEE
// Transactions on Acoustics, Speech, and Signal Processing, 29(6), with a free parameter a.
double CubicKernel(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

double LinearKernel(double x) { return std::max(0.0, 1 - std::abs(x)); }

// Weights of the taps at distances first - ratio, first + 1 - ratio, ... from the position;
// normalized to sum to one.
void SetWeights(const ResizeForm& form, const ResizeAxis& axis, double stretch, int64_t first,
                double ratio, const int64_t* sources, std::span<float> weights) {
  double sum = 0;
  std::vector<double> raw(weights.size());
  for (size_t t = 0; t < weights.size(); ++t) {
    const double distance = (static_cast<double>(first) + static_cast<double>(t) - ratio) * stretch;
    raw[t] = form.mode == ResizeMode::kCubic ? CubicKernel(distance, form.cubic_a)
                                             : LinearKernel(distance);
    if (form.exclude_outside && (sources[t] < 0 || sources[t] >= axis.input)) raw[t] = 0;
    sum += raw[t];
  }
  for (size_t t = 0; t < weights.size(); ++t) {
    weights[t] = static_cast<float>(raw[t] / (sum == 0 ? 1 : sum));
  }
}

}  // namespace

absl::StatusOr<ResizeForm> ReadResizeForm(const graph::Node& node, ResizeDialect dialect) {
  ResizeForm form;
  OCTET_ASSIGN_OR_RETURN(form.mode, Named(node, "mode", "nearest", kModes));
  if (dialect != ResizeDialect::kResize11) {
    if (form.mode == ResizeMode::kCubic) {
      return absl::InvalidArgumentError("mode cubic came with opset 11");
    }
    form.coordinates = CoordinateMode::kAsymmetric;
    form.nearest =
        dialect == ResizeDialect::kResize10 ? NearestMode::kFloorOrCeil : NearestMode::kFloor;
    return form;
  }
  OCTET_ASSIGN_OR_RETURN(form.coordinates, Named(node, "coordinate_transformation_mode",
                                                 "half_pixel", kCoordinateModes));
  OCTET_ASSIGN_OR_RETURN(form.nearest,
                         Named(node, "nearest_mode", "round_prefer_floor", kNearestModes));
  form.antialias = node.Int("antialias", 0) != 0;
  form.exclude_outside = node.Int("exclude_outside", 0) != 0;
  form.cubic_a = node.Float("cubic_coeff_a", -0.75f);
  form.extrapolation = node.Float("extrapolation_value", 0.0f);
  return form;
}

absl::StatusOr<std::vector<ResizeAxis>> ReadResizeAxes(const graph::Node& node,
                                                       const ResizeForm& form, const Shape& shape,
                                                       const ResizeLists& lists) {
  const int rank = static_cast<int>(shape.size());
  OCTET_ASSIGN_OR_RETURN(std::vector<int> axes, NormalizeAxes(node.Ints("axes"), rank));
  for (int d = 0; !node.Has("axes") && d < rank; ++d) axes.push_back(d);
  const bool scaled = lists.sizes.empty();
  if (scaled == lists.scales.empty() ||
      (scaled ? lists.scales.size() : lists.sizes.size()) != axes.size()) {
    return absl::InvalidArgumentError(absl::StrCat(lists.scales.size(), " scales and ",
                                                   lists.sizes.size(), " sizes for ", axes.size(),
                                                   " dimensions"));
  }
  std::vector<ResizeAxis> result;
  for (const int64_t dim : shape) result.push_back({.input = dim, .output = dim});
  OCTET_ASSIGN_OR_RETURN(const AspectPolicy policy,
                         Named(node, "keep_aspect_ratio_policy", "stretch", kAspectPolicies));
  OCTET_RETURN_IF_ERROR(scaled ? ApplyScales(axes, lists.scales, result)
                               : ApplySizes(axes, lists.sizes, policy, result));
  if (form.coordinates == CoordinateMode::kTfCropAndResize) {
    OCTET_RETURN_IF_ERROR(ApplyCrop(axes, lists.roi, result));
  }
  for (ResizeAxis& axis : result) {
    axis.whole = IsWhole(axis, form.coordinates);
    if (!axis.whole) OCTET_RETURN_IF_ERROR(CheckGatherShape({axis.input, axis.output}));
  }
  return result;
}

std::vector<int64_t> NearestIndices(const ResizeForm& form, const ResizeAxis& axis) {
  if (axis.whole) return WholeAxis(axis.input);
  std::vector<int64_t> indices;
  for (int64_t o = 0; o < axis.output; ++o) {
    const double x = SourceOf(form.coordinates, axis, o);
    const double last = static_cast<double>(axis.input - 1);
    indices.push_back(
        IsOutside(form.coordinates, axis, x)
            ? AxisGather::kFill
            : static_cast<int64_t>(std::clamp(RoundTo(form.nearest, axis.scale, x), 0.0, last)));
  }
  return indices;
}

AxisFilter InterpolationFilter(const ResizeForm& form, const ResizeAxis& axis) {
  AxisFilter filter = {.output = axis.output};
  if (axis.whole) return filter;
  // When shrinking, antialiasing widens the kernel to cover every input element.
  const double stretch = form.antialias ? std::min(axis.scale, 1.0) : 1.0;
  const double radius = form.mode == ResizeMode::kCubic ? 2 : 1;
  const auto first = static_cast<int64_t>(std::floor(-radius / stretch)) + 1;
  filter.taps = 2 - 2 * first;
  filter.sources.resize(static_cast<size_t>(axis.output * filter.taps));
  filter.weights.resize(filter.sources.size());
  for (int64_t o = 0; o < axis.output; ++o) {
    int64_t* const sources = &filter.sources[o * filter.taps];
    const double x = SourceOf(form.coordinates, axis, o);
    if (IsOutside(form.coordinates, axis, x)) {
      sources[0] = AxisFilter::kOutside;
      continue;
    }
    const double left = std::ceil(x) - 1;  // so that 0 < ratio <= 1
    for (int64_t t = 0; t < filter.taps; ++t) sources[t] = static_cast<int64_t>(left) + first + t;
    SetWeights(form, axis, stretch, first, x - left, sources,
               std::span(&filter.weights[o * filter.taps], static_cast<size_t>(filter.taps)));
    for (int64_t t = 0; t < filter.taps; ++t) {
      sources[t] = std::clamp<int64_t>(sources[t], 0, axis.input - 1);
    }
  }
  return filter;
}

}  // namespace octet::kernels
