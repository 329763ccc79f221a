// Convolution on oneDNN: float32, int8, and int8 with inputs quantized at run time.

#pragma once

#include "absl/status/statusor.h"
#include "kernels/lowering.h"

namespace octet::kernels {

// Inputs 0 to 2 of a Conv node: images, weights and, optional, one bias per output channel.
//
// float32 lets oneDNN choose blocked layouts; int8 runs channels-last, where its kernels are. Where
// the weights are quantized and the images are not, every image is quantized with the range of its
// own elements, so that no image's result depends on those beside it.
//
// False for sizes that oneDNN has not got.
absl::StatusOr<bool> LowerConvolution(LoweringContext& context);

}  // namespace octet::kernels
