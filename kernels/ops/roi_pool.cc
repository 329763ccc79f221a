// RoiAlign and MaxRoiPool: fixed-size features of regions that come as data.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kImage = 0, kRegions = 1, kBatchIndices = 2;
constexpr int64_t kLargestOutput = 1 << 16;

absl::Status CheckImage(const InferContext& context, int64_t region_size) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, kImage, DataType::kFloat32));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kRegions, DataType::kFloat32));
  const Shape& image = context.shape(kImage);
  const Shape& regions = context.shape(kRegions);
  if (image.size() == 4 && image[2] > 0 && image[3] > 0 && regions.size() == 2 &&
      regions[1] == region_size) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("regions of shape ", ToText(regions),
                                                 " do not fit an image of shape ", ToText(image)));
}

std::vector<TensorType> Pooled(const InferContext& context, int64_t height, int64_t width) {
  return {{.shape = {context.shape(kRegions)[0], context.shape(kImage)[1], height, width}}};
}

// --- RoiAlign ---

template <bool kHalfPixelByDefault>
bool HalfPixel(const graph::Node& node) {
  return node.String("coordinate_transformation_mode",
                     kHalfPixelByDefault ? "half_pixel" : "output_half_pixel") == "half_pixel";
}

absl::StatusOr<std::vector<TensorType>> InferRoiAlign(const InferContext& context) {
  constexpr int64_t kMostSamples = 1024;
  OCTET_RETURN_IF_ERROR(CheckImage(context, 4));
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kBatchIndices));
  const graph::Node& node = context.node();
  const int64_t height = node.Int("output_height", 1), width = node.Int("output_width", 1);
  const int64_t samples = node.Int("sampling_ratio", 0);
  const std::string mode = node.String("mode", "avg");
  if (context.shape(kBatchIndices) != Shape{context.shape(kRegions)[0]}) {
    return absl::InvalidArgumentError(absl::StrCat("batch_indices of shape ",
                                                   ToText(context.shape(kBatchIndices)), " for ",
                                                   context.shape(kRegions)[0], " regions"));
  }
  if (height < 1 || height > kLargestOutput || width < 1 || width > kLargestOutput || samples < 0 ||
      samples > kMostSamples || (mode != "avg" && mode != "max")) {
    return absl::InvalidArgumentError(absl::StrCat("output of ", height, " by ", width,
                                                   ", sampling_ratio ", samples, ", mode ", mode));
  }
  return Pooled(context, height, width);
}

// The four neighbours of a sampling point and their weights.
struct Sample {
  int64_t offset[4] = {};
  float weight[4] = {};
};

Sample SampleAt(float y, float x, int64_t height, int64_t width) {
  Sample sample;
  const auto bottom = static_cast<float>(height), right = static_cast<float>(width);
  if (!(y >= -1 && y <= bottom && x >= -1 && x <= right)) return sample;
  y = std::clamp(y, 0.0f, bottom - 1);
  x = std::clamp(x, 0.0f, right - 1);
  const auto top = static_cast<int64_t>(y), left = static_cast<int64_t>(x);
  const int64_t below = std::min(top + 1, height - 1), beside = std::min(left + 1, width - 1);
  const float down = y - static_cast<float>(top), across = x - static_cast<float>(left);
  return {.offset = {top * width + left, top * width + beside, below * width + left,
                     below * width + beside},
          .weight = {(1 - down) * (1 - across), (1 - down) * across, down * (1 - across),
                     down * across}};
}

struct Region {
  float top, left, bin_height, bin_width;
  int64_t rows, columns;  // sampling points in a bin
};

absl::StatusOr<Region> ReadRegion(const graph::Node& node, bool half_pixel, const float* corners,
                                  const Shape& image) {
  const float scale = node.Float("spatial_scale", 1.0f);
  const float offset = half_pixel ? 0.5f : 0.0f;
  const float left = corners[0] * scale - offset, top = corners[1] * scale - offset;
  float width = corners[2] * scale - offset - left, height = corners[3] * scale - offset - top;
  if (!half_pixel) {
    width = std::max(width, 1.0f);
    height = std::max(height, 1.0f);
  }
  const auto output_height = static_cast<float>(node.Int("output_height", 1));
  const auto output_width = static_cast<float>(node.Int("output_width", 1));
  Region region = {.top = top,
                   .left = left,
                   .bin_height = height / output_height,
                   .bin_width = width / output_width};
  // Regions come from requests; the work they ask for must stay in proportion to the image.
  const auto fits = [](float size, int64_t limit) {
    return std::abs(size) <= static_cast<float>(4 * limit + 4);  // false for not-a-number
  };
  if (!fits(height, image[2]) || !fits(width, image[3])) {
    return absl::InvalidArgumentError(absl::StrCat("a region of ", height, " by ", width,
                                                   " in an image of ", image[2], " by ", image[3]));
  }
  const int64_t samples = node.Int("sampling_ratio", 0);
  region.rows = samples > 0 ? samples : static_cast<int64_t>(std::ceil(region.bin_height));
  region.columns = samples > 0 ? samples : static_cast<int64_t>(std::ceil(region.bin_width));
  return region;
}

void SampleBin(const Region& region, int64_t row, int64_t column, const Shape& image,
               std::vector<Sample>& samples) {
  samples.clear();
  for (int64_t y = 0; y < region.rows; ++y) {
    for (int64_t x = 0; x < region.columns; ++x) {
      const auto fraction = [](int64_t i, int64_t count) {
        return (static_cast<float>(i) + 0.5f) / static_cast<float>(count);
      };
      samples.push_back(SampleAt(
          region.top + (static_cast<float>(row) + fraction(y, region.rows)) * region.bin_height,
          region.left +
              (static_cast<float>(column) + fraction(x, region.columns)) * region.bin_width,
          image[2], image[3]));
    }
  }
}

float Average(const std::vector<Sample>& samples, const float* plane) {
  float sum = 0;
  for (const Sample& sample : samples) {
    for (int i = 0; i < 4; ++i) sum += sample.weight[i] * plane[sample.offset[i]];
  }
  return samples.empty() ? 0 : sum / static_cast<float>(samples.size());
}

// Of the weighted neighbours, not of the interpolated points: so ONNX defines it.
float Maximum(const std::vector<Sample>& samples, const float* plane) {
  if (samples.empty()) return 0;
  float maximum = -std::numeric_limits<float>::infinity();
  for (const Sample& sample : samples) {
    for (int i = 0; i < 4; ++i) {
      maximum = std::max(maximum, sample.weight[i] * plane[sample.offset[i]]);
    }
  }
  return maximum;
}

template <bool kHalfPixelByDefault>
absl::Status ReferenceRoiAlign(const graph::Node& node, std::span<const ConstTensorView> inputs,
                               std::span<TensorView> outputs) {
  const Shape& image = inputs[kImage].shape;
  const Shape& shape = outputs[0].shape;
  const int64_t channels = image[1], plane = image[2] * image[3], bins = shape[2] * shape[3];
  const bool maximum = node.String("mode", "avg") == "max";
  const std::vector<int64_t> batch_indices = Ints(inputs[kBatchIndices]);
  std::vector<Sample> samples;
  float* to = outputs[0].As<float>().data();
  for (int64_t r = 0; r < shape[0]; ++r, to += channels * bins) {
    const int64_t batch = batch_indices[r];
    if (batch < 0 || batch >= image[0]) return IndexError(batch, image[0]);
    OCTET_ASSIGN_OR_RETURN(const Region region,
                           ReadRegion(node, HalfPixel<kHalfPixelByDefault>(node),
                                      inputs[kRegions].As<float>().data() + 4 * r, image));
    const float* const from = inputs[kImage].As<float>().data() + batch * channels * plane;
    for (int64_t bin = 0; bin < bins; ++bin) {
      SampleBin(region, bin / shape[3], bin % shape[3], image, samples);
      for (int64_t c = 0; c < channels; ++c) {
        to[c * bins + bin] =
            maximum ? Maximum(samples, from + c * plane) : Average(samples, from + c * plane);
      }
    }
  }
  return absl::OkStatus();
}

// --- MaxRoiPool ---

absl::StatusOr<std::vector<TensorType>> InferMaxRoiPool(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckImage(context, 5));
  const std::vector<int64_t> pooled = context.node().Ints("pooled_shape");
  if (pooled.size() != 2 || *std::min_element(pooled.begin(), pooled.end()) < 1 ||
      *std::max_element(pooled.begin(), pooled.end()) > kLargestOutput) {
    return absl::InvalidArgumentError("pooled_shape must be two positive sizes");
  }
  return Pooled(context, pooled[0], pooled[1]);
}

// Elements [begin, end) of an image dimension that fall into bin `i` of `bins`.
std::pair<int64_t, int64_t> BinRange(float first, float last, int64_t i, int64_t bins,
                                     int64_t size) {
  const double begin = std::round(double{first}), end = std::round(double{last});
  const double bin = std::max(end - begin + 1, 1.0) / static_cast<double>(bins);
  const auto clamp = [size](double position) {
    return position > 0 ? static_cast<int64_t>(std::min(position, static_cast<double>(size))) : 0;
  };
  return {clamp(begin + std::floor(static_cast<double>(i) * bin)),
          clamp(begin + std::ceil(static_cast<double>(i + 1) * bin))};
}

absl::Status ReferenceMaxRoiPool(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                 std::span<TensorView> outputs) {
  const Shape& image = inputs[kImage].shape;
  const Shape& shape = outputs[0].shape;
  const float scale = node.Float("spatial_scale", 1.0f);
  const int64_t channels = image[1], plane = image[2] * image[3];
  float* to = outputs[0].As<float>().data();
  const float* region = inputs[kRegions].As<float>().data();
  for (int64_t r = 0; r < shape[0]; ++r, region += 5) {
    if (!(region[0] >= 0 && region[0] < static_cast<float>(image[0]))) {
      return absl::InvalidArgumentError(
          absl::StrCat("region of image ", region[0], ", but there are ", image[0]));
    }
    const float* from =
        inputs[kImage].As<float>().data() + static_cast<int64_t>(region[0]) * channels * plane;
    for (int64_t c = 0; c < channels; ++c, from += plane) {
      for (int64_t bin = 0; bin < shape[2] * shape[3]; ++bin) {
        const auto [top, bottom] =
            BinRange(region[2] * scale, region[4] * scale, bin / shape[3], shape[2], image[2]);
        const auto [left, right] =
            BinRange(region[1] * scale, region[3] * scale, bin % shape[3], shape[3], image[3]);
        float maximum = top < bottom && left < right ? from[top * image[3] + left] : 0;
        for (int64_t y = top; y < bottom; ++y) {
          for (int64_t x = left; x < right; ++x) {
            maximum = std::max(maximum, from[y * image[3] + x]);
          }
        }
        *to++ = maximum;
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator OfRegions(absl::string_view type, int since_version, int inputs,
                             graph::InferFn infer, graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .since_version = since_version,
                     .min_inputs = inputs,
                     .max_inputs = inputs,
                     .infer = infer,
                     .reference = reference}};
}

constexpr Operator kOperators[] = {
    OfRegions("RoiAlign", 10, 3, InferRoiAlign, ReferenceRoiAlign<false>),
    OfRegions("RoiAlign", 16, 3, InferRoiAlign, ReferenceRoiAlign<true>),
    OfRegions("MaxRoiPool", 1, 2, InferMaxRoiPool, ReferenceMaxRoiPool),
};

}  // namespace

std::span<const Operator> roi_pool() { return kOperators; }

}  // namespace octet::kernels::ops
