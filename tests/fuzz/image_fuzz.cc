// Any bytes as a JPEG or PNG file: no crash, no more memory than is allowed, and an error that says
// what is wrong; what is taken has the pixels that its size says.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "runtime/images/decode.h"

namespace {

// A file of a few bytes may ask for all that is allowed, which takes time.
constexpr int64_t kMostPixels = int64_t{1} << 16;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto image = octet::runtime::DecodeImage(std::as_bytes(std::span(data, size)), kMostPixels);
  if (!image.ok()) {
    if (image.status().message().empty()) std::abort();
    return 0;
  }
  const int64_t pixels = image->height * image->width;
  if (pixels < 1 || pixels > kMostPixels) std::abort();
  if (image->pixels.size() != static_cast<size_t>(pixels) * 3) std::abort();
  return 0;
}
