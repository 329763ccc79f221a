// Images of another size, and parts of images.

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/images/image.h"

namespace octet::runtime {

// `image` at `height` x `width`, bilinear, with antialiasing when it shrinks: each pixel of the
// result is the mean of the pixels around its place, weighted by a triangle that reaches one pixel
// of the coarser of the two grids to either side; the centres of pixels are at halves. First along
// rows, then along columns, rounded to 8 bits after each. So does Pillow's Image.resize(BILINEAR)
// and, by way of it, torchvision.transforms.Resize; where Pillow takes columns first to save time,
// pixels differ by at most 1. InvalidArgument if the result, or what is between the two passes, is
// beyond the bounds of image.h.
absl::StatusOr<Image> Resize(const Image& image, int64_t height, int64_t width);

// The size of `image` when its shorter side is `side` and its proportions stay; the longer side is
// rounded down.
struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
};
ImageSize SizeWithShorterSide(const Image& image, int64_t side);

// The middle of `image`, that of torchvision.transforms.CenterCrop: where margins differ by one
// pixel, the smaller one is at the side that makes the first margin even. InvalidArgument if the
// image is smaller than that.
absl::StatusOr<Image> CropCenter(const Image& image, int64_t height, int64_t width);

}  // namespace octet::runtime
