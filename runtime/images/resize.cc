#include "runtime/images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

constexpr int64_t kChannels = Image::kChannels;

// Which pixels make one pixel of the result, and how much of each.
struct Window {
  int64_t first = 0;
  std::vector<double> weights;  // their sum is 1
};

std::vector<Window> Windows(int64_t from, int64_t to) {
  const double step = static_cast<double>(from) / static_cast<double>(to);
  const double reach = std::max(step, 1.0);
  std::vector<Window> windows(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    Window& window = windows[static_cast<size_t>(i)];
    const double center = (static_cast<double>(i) + 0.5) * step;
    window.first = std::max<int64_t>(static_cast<int64_t>(std::floor(center - reach + 0.5)), 0);
    const int64_t end = std::min(static_cast<int64_t>(std::floor(center + reach + 0.5)), from);
    double sum = 0;
    for (int64_t pixel = window.first; pixel < end; ++pixel) {
      const double distance = std::abs(static_cast<double>(pixel) + 0.5 - center) / reach;
      window.weights.push_back(std::max(1 - distance, 0.0));
      sum += window.weights.back();
    }
    for (double& weight : window.weights) weight /= sum;
  }
  return windows;
}

// The weighted mean of pixels that are `stride` bytes apart, channel by channel.
void Mean(const Window& window, const uint8_t* pixels, int64_t stride, uint8_t* result) {
  double sums[kChannels] = {};
  const uint8_t* pixel = pixels + window.first * stride;
  for (const double weight : window.weights) {
    for (int64_t c = 0; c < kChannels; ++c) sums[c] += weight * pixel[c];
    pixel += stride;
  }
  for (int64_t c = 0; c < kChannels; ++c) {
    result[c] = static_cast<uint8_t>(std::clamp(sums[c] + 0.5, 0.0, 255.0));
  }
}

Image Blank(int64_t height, int64_t width) {
  Image image = {.height = height, .width = width};
  image.pixels.resize(static_cast<size_t>(height * width * kChannels));
  return image;
}

Image ResizeRows(const Image& image, int64_t width) {
  const std::vector<Window> windows = Windows(image.width, width);
  Image result = Blank(image.height, width);
  uint8_t* to = result.pixels.data();
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* const row = image.pixels.data() + y * image.width * kChannels;
    for (const Window& window : windows) {
      Mean(window, row, kChannels, to);
      to += kChannels;
    }
  }
  return result;
}

Image ResizeColumns(const Image& image, int64_t height) {
  Image result = Blank(height, image.width);
  uint8_t* to = result.pixels.data();
  for (const Window& window : Windows(image.height, height)) {
    for (int64_t x = 0; x < image.width; ++x) {
      Mean(window, image.pixels.data() + x * kChannels, image.width * kChannels, to);
      to += kChannels;
    }
  }
  return result;
}

// Half of `margin`; a half pixel goes to the even side.
int64_t FirstMargin(int64_t margin) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(margin) / 2));
}

}  // namespace

absl::StatusOr<Image> Resize(const Image& image, int64_t height, int64_t width) {
  OCTET_RETURN_IF_ERROR(CheckImageSize(height, width));
  OCTET_RETURN_IF_ERROR(CheckImageSize(image.height, width));
  Image result = image.width == width ? image : ResizeRows(image, width);
  return result.height == height ? result : ResizeColumns(result, height);
}

ImageSize SizeWithShorterSide(const Image& image, int64_t side) {
  if (image.height <= image.width) return {side, side * image.width / image.height};
  return {side * image.height / image.width, side};
}

absl::StatusOr<Image> CropCenter(const Image& image, int64_t height, int64_t width) {
  if (image.height < height || image.width < width) {
    return absl::InvalidArgumentError(absl::StrCat("crop: [", height, ", ", width,
                                                   "] is larger than the image, which is [",
                                                   image.height, ", ", image.width, "]"));
  }
  const int64_t top = FirstMargin(image.height - height);
  const int64_t left = FirstMargin(image.width - width);
  Image result = Blank(height, width);
  const auto row_bytes = static_cast<size_t>(width * kChannels);
  for (int64_t y = 0; y < height; ++y) {
    std::memcpy(result.pixels.data() + static_cast<size_t>(y) * row_bytes,
                image.pixels.data() + ((top + y) * image.width + left) * kChannels, row_bytes);
  }
  return result;
}

}  // namespace octet::runtime
