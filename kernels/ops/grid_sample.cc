// GridSample and AffineGrid: images read at positions that come as data.

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

constexpr int kImage = 0, kGrid = 1;

enum class Mode { kNearest, kLinear, kCubic };
enum class Padding { kZeros, kBorder, kReflection };

struct Form {
  Mode mode = Mode::kLinear;
  Padding padding = Padding::kZeros;
  bool align_corners = false;
};

absl::StatusOr<Form> ReadForm(const graph::Node& node) {
  Form form = {.align_corners = node.Int("align_corners", 0) != 0};
  const std::string mode = node.String("mode", "linear");
  const std::string padding = node.String("padding_mode", "zeros");
  if (mode == "nearest") {
    form.mode = Mode::kNearest;
  } else if (mode == "cubic" || mode == "bicubic") {  // the latter names are opset 16's
    form.mode = Mode::kCubic;
  } else if (mode != "linear" && mode != "bilinear") {
    return absl::InvalidArgumentError(absl::StrCat("mode ", mode, " is not known"));
  }
  if (padding == "border") {
    form.padding = Padding::kBorder;
  } else if (padding == "reflection") {
    form.padding = Padding::kReflection;
  } else if (padding != "zeros") {
    return absl::InvalidArgumentError(absl::StrCat("padding_mode ", padding, " is not known"));
  }
  return form;
}

absl::StatusOr<std::vector<TensorType>> InferGridSample(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ReadForm(context.node()).status());
  OCTET_RETURN_IF_ERROR(ExpectType(context, kImage, DataType::kFloat32));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kGrid, DataType::kFloat32));
  const Shape& image = context.shape(kImage);
  const Shape& grid = context.shape(kGrid);
  const bool fits = (image.size() == 4 || image.size() == 5) && grid.size() == image.size() &&
                    grid[0] == image[0] && grid.back() == static_cast<int64_t>(image.size()) - 2 &&
                    Product(image, 2, image.size()) > 0;
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a grid of shape ", ToText(grid), " does not fit an image of shape ", ToText(image)));
  }
  Shape shape = {image[0], image[1]};
  shape.insert(shape.end(), grid.begin() + 1, grid.end() - 1);
  return std::vector<TensorType>{{.shape = std::move(shape)}};
}

// Mirrors x at the borders until it lies between them.
float Reflect(float x, float lowest, float highest) {
  const float range = highest - lowest;
  if (range <= 0) return lowest;
  const float distance = std::fmod(std::abs(x - lowest), 2 * range);
  return distance <= range ? lowest + distance : highest - (distance - range);
}

// The elements along one dimension that a position is made of.
struct Taps {
  int count = 0;
  std::array<int64_t, 4> index{};  // -1: a zero outside the image
  std::array<float, 4> weight{};
};

class AxisSampler {
 public:
  AxisSampler(const Form& form, int64_t size)
      : form_(form),
        size_(size),
        lowest_(form.align_corners ? 0.0f : -0.5f),
        highest_(static_cast<float>(size - 1) - lowest_) {}

  // `normalized` is -1 at one edge of the image and 1 at the other.
  Taps At(float normalized) const {
    constexpr float kFar = 1e9f;
    const auto size = static_cast<float>(size_);
    float x =
        form_.align_corners ? (normalized + 1) / 2 * (size - 1) : ((normalized + 1) * size - 1) / 2;
    x = x > -kFar ? std::min(x, kFar) : -kFar;  // not-a-number is far away too
    if (form_.mode == Mode::kNearest) x = std::nearbyint(x);
    if (x < lowest_ || x > highest_) {
      if (form_.padding == Padding::kBorder) x = std::clamp(x, 0.0f, size - 1);
      if (form_.padding == Padding::kReflection) x = Reflect(x, lowest_, highest_);
    }
    return Around(x);
  }

 private:
  Taps Around(float x) const {
    if (form_.mode == Mode::kNearest) {
      return {.count = 1, .index = {Padded(static_cast<int64_t>(x))}, .weight = {1.0f}};
    }
    const float left = std::floor(x);
    const float ratio = x - left;
    const auto first = static_cast<int64_t>(left);
    if (form_.mode == Mode::kLinear) {
      return {
          .count = 2, .index = {Padded(first), Padded(first + 1)}, .weight = {1 - ratio, ratio}};
    }
    Taps taps = {.count = 4};
    for (int t = 0; t < 4; ++t) {
      taps.index[t] = Padded(first - 1 + t);
      taps.weight[t] = Cubic(std::abs(static_cast<float>(t - 1) - ratio));
    }
    return taps;
  }

  int64_t Padded(int64_t index) const {
    if (index >= 0 && index < size_) return index;
    if (form_.padding == Padding::kZeros) return -1;
    if (form_.padding == Padding::kReflection) {
      index = static_cast<int64_t>(Reflect(static_cast<float>(index), lowest_, highest_));
    }
    return std::clamp<int64_t>(index, 0, size_ - 1);
  }

  // Keys' cubic convolution with a = -0.75.
  static float Cubic(float x) {
    constexpr float kA = -0.75f;
    if (x <= 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
    return ((kA * x - 5 * kA) * x + 8 * kA) * x - 4 * kA;
  }

  const Form form_;
  const int64_t size_;
  const float lowest_, highest_;
};

struct Tap {
  int64_t offset;
  float weight;
};

// The products of the dimensions' taps: offsets into a channel's image.
void Combine(const std::vector<AxisSampler>& samplers, const Shape& strides, const float* point,
             std::vector<Tap>& taps) {
  taps.assign(1, {0, 1.0f});
  const size_t rank = samplers.size();
  std::vector<Tap> longer;
  for (size_t d = 0; d < rank; ++d) {
    const Taps axis = samplers[d].At(point[rank - 1 - d]);  // a grid point is (x, y, z)
    longer.clear();
    for (const Tap& tap : taps) {
      for (int t = 0; t < axis.count; ++t) {
        if (axis.index[t] < 0) continue;
        longer.push_back({tap.offset + axis.index[t] * strides[d], tap.weight * axis.weight[t]});
      }
    }
    taps.swap(longer);
  }
}

absl::Status ReferenceGridSample(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                 std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Form form, ReadForm(node));
  const Shape& image = inputs[kImage].shape;
  const Shape spatial(image.begin() + 2, image.end());
  const Shape strides = RowMajorStrides(spatial);
  const int64_t channels = image[1], plane = ElementCount(spatial);
  const int64_t points = Product(outputs[0].shape, 2, outputs[0].shape.size());
  std::vector<AxisSampler> samplers;
  for (const int64_t size : spatial) samplers.emplace_back(form, size);
  const float* point = inputs[kGrid].As<float>().data();
  std::vector<Tap> taps;
  for (int64_t n = 0; n < image[0]; ++n) {
    const float* const from = inputs[kImage].As<float>().data() + n * channels * plane;
    float* const to = outputs[0].As<float>().data() + n * channels * points;
    for (int64_t p = 0; p < points; ++p, point += spatial.size()) {
      Combine(samplers, strides, point, taps);
      for (int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (const Tap& tap : taps) sum += tap.weight * from[c * plane + tap.offset];
        to[c * points + p] = sum;
      }
    }
  }
  return absl::OkStatus();
}

// --- AffineGrid ---

absl::StatusOr<std::vector<TensorType>> InferAffineGrid(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> size, IntList(context, 1, ""));
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  const auto rank = static_cast<int64_t>(size.size()) - 2;
  if ((rank != 2 && rank != 3) || context.shape(0) != Shape{size[0], rank, rank + 1} ||
      *std::min_element(size.begin(), size.end()) < 0) {
    return absl::InvalidArgumentError(absl::StrCat("transformations of shape ",
                                                   ToText(context.shape(0)), " for images of ",
                                                   rank, " spatial dimensions"));
  }
  Shape shape = {size[0]};
  shape.insert(shape.end(), size.begin() + 2, size.end());
  shape.push_back(rank);
  return std::vector<TensorType>{{.shape = std::move(shape)}};
}

// Where element `i` of a dimension lies between -1 and 1.
double Normalized(int64_t i, int64_t size, bool align_corners) {
  if (!align_corners) {
    return (2 * static_cast<double>(i) + 1) / static_cast<double>(size) - 1;
  }
  return size == 1 ? 0 : 2 * static_cast<double>(i) / static_cast<double>(size - 1) - 1;
}

absl::Status ReferenceAffineGrid(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                 std::span<TensorView> outputs) {
  const bool align_corners = node.Int("align_corners", 0) != 0;
  const Shape& shape = outputs[0].shape;
  const auto rank = static_cast<size_t>(shape.back());
  const int64_t points = Product(shape, 1, shape.size() - 1);
  const float* theta = inputs[0].As<float>().data();
  float* to = outputs[0].As<float>().data();
  for (int64_t n = 0; n < shape[0]; ++n, theta += rank * (rank + 1)) {
    for (int64_t p = 0; p < points; ++p, to += rank) {
      std::array<double, 3> position{};  // (x, y, z)
      int64_t rest = p;
      for (size_t d = 0; d < rank; ++d) {
        const int64_t size = shape[rank - d];
        position[d] = Normalized(rest % size, size, align_corners);
        rest /= size;
      }
      for (size_t row = 0; row < rank; ++row) {
        const float* const coefficients = theta + row * (rank + 1);
        double sum = coefficients[rank];
        for (size_t d = 0; d < rank; ++d) sum += coefficients[d] * position[d];
        to[row] = static_cast<float>(sum);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "GridSample",
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = InferGridSample,
                .reference = ReferenceGridSample}},
    {.schema = {.type = "AffineGrid",
                .min_inputs = 2,
                .max_inputs = 2,
                .infer = InferAffineGrid,
                .reference = ReferenceAffineGrid}},
};

}  // namespace

std::span<const Operator> grid_sample() { return kOperators; }

}  // namespace octet::kernels::ops
