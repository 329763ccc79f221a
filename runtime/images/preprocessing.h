// What is done to images before a model reads them.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/images/resize.h"

namespace octet::runtime {

// In this order: colour, resize, crop, division by `scale`, subtraction of `mean`, division by
// `std`, layout. What is not set follows from the model's input, or is an error.
struct ImagePreprocessing {
  enum class Layout : uint8_t { kFromModel, kNchw, kNhwc };
  enum class Color : uint8_t { kFromModel, kRgb, kBgr, kGray };

  std::optional<ImageSize> resize;
  int64_t shorter_side = 0;       // in place of `resize`: the proportions stay; 0: not set
  std::optional<ImageSize> crop;  // the middle
  // For all channels or for each, in the model's order; empty: not set, for integer inputs only.
  std::vector<double> mean, std;
  double scale = 255;  // of the pixels, which are 0 to 255
  Layout layout = Layout::kFromModel;
  Color color = Color::kFromModel;  // RGB for three channels, grey for one
};

}  // namespace octet::runtime
