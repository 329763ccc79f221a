// A decoded image, and the bounds that files are held to before they are decoded.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace octet::runtime {

// Red, green and blue of every pixel, 8 bits each, row by row from the top left.
struct Image {
  static constexpr int64_t kChannels = 3;

  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> pixels;
};

inline constexpr int64_t kMostImagePixels = 100'000'000;
inline constexpr int64_t kLongestImageSide = 65'535;

// InvalidArgument if an image of that size has no pixels, more than `most_pixels`, or a side longer
// than kLongestImageSide.
absl::Status CheckImageSize(int64_t height, int64_t width, int64_t most_pixels = kMostImagePixels);

}  // namespace octet::runtime
