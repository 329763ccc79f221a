// NumPy's array files: .npy, and .npz archives of them.
//
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (versions 1 to 3;
// little-endian, C order).

#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace octet::runtime {

// An array as a tensor of its own element type; float64 and float16 stay what they are.
// InvalidArgument for a damaged file, Unimplemented for element types no tensor has.
absl::StatusOr<Tensor> ParseNpy(std::span<const std::byte> file);

// Name and value of every array in an archive, stored or deflated. All together may unpack
// to at most kMaxTensorBytes (ResourceExhausted).
absl::StatusOr<std::vector<std::pair<std::string, Tensor>>> ReadNpz(const std::string& path);

}  // namespace octet::runtime
