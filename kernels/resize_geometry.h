// Where each output element of Resize and Upsample reads its input: sizes, coordinate
// transformations, nearest neighbours and interpolation filters, axis by axis.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/node.h"
#include "kernels/resampler.h"

namespace octet::kernels {

// The operators say less the older they are: Upsample and Resize of opset 10 fix what the
// attributes of Resize 11 choose.
enum class ResizeDialect { kUpsample, kResize10, kResize11 };

enum class ResizeMode { kNearest, kLinear, kCubic };
enum class CoordinateMode {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfHalfPixelForNn,
  kTfCropAndResize,
};
enum class NearestMode {
  kRoundPreferFloor,
  kRoundPreferCeil,
  kFloor,
  kCeil,
  kFloorOrCeil,  // floor when growing, ceil when shrinking: Resize of opset 10
};

// The attributes.
struct ResizeForm {
  ResizeMode mode = ResizeMode::kNearest;
  CoordinateMode coordinates = CoordinateMode::kHalfPixel;
  NearestMode nearest = NearestMode::kRoundPreferFloor;
  bool antialias = false;
  bool exclude_outside = false;
  float cubic_a = -0.75f;
  float extrapolation = 0;
};
absl::StatusOr<ResizeForm> ReadResizeForm(const graph::Node& node, ResizeDialect dialect);

// The inputs, or the attribute `scales` of old. Lists that were left out are empty.
struct ResizeLists {
  std::vector<float> scales;
  std::vector<int64_t> sizes;
  std::vector<float> roi;
};

struct ResizeAxis {
  int64_t input = 0;
  int64_t output = 0;
  double scale = 1;
  double crop_begin = 0, crop_end = 1;  // the part that kTfCropAndResize reads
  bool whole = true;                    // copied as it is
};
// One for each dimension of `shape`. InvalidArgument if the lists do not fit it.
absl::StatusOr<std::vector<ResizeAxis>> ReadResizeAxes(const graph::Node& node,
                                                       const ResizeForm& form, const Shape& shape,
                                                       const ResizeLists& lists);

// For AxisGather.
std::vector<int64_t> NearestIndices(const ResizeForm& form, const ResizeAxis& axis);

// For Resampler; empty for an axis that is copied as it is.
AxisFilter InterpolationFilter(const ResizeForm& form, const ResizeAxis& axis);

}  // namespace octet::kernels
