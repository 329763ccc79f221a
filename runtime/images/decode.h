// JPEG and PNG files -> pixels.

#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/images/image.h"

namespace octet::runtime {

// Whether a file's name ends as one of an image: .jpg, .jpeg or .png, in any case.
bool IsImageName(absl::string_view name);

// The image in `file`, which its first bytes tell to be JPEG or PNG. Grey becomes red, green and
// blue alike, palettes their colours, 16 bits the nearest 8; transparency, colour profiles and a
// rotation that the camera notes are left out of account. InvalidArgument for anything else, for a
// damaged or truncated file, and beyond the bounds of image.h; nothing is allocated before these
// are known to hold.
absl::StatusOr<Image> DecodeImage(std::span<const std::byte> file,
                                  int64_t most_pixels = kMostImagePixels);

// Of the one format. JPEG in CMYK is refused.
absl::StatusOr<Image> DecodeJpeg(std::span<const std::byte> file, int64_t most_pixels);
absl::StatusOr<Image> DecodePng(std::span<const std::byte> file, int64_t most_pixels);

}  // namespace octet::runtime
