#include "runtime/images/decode.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace octet::runtime {
namespace {

constexpr std::array<uint8_t, 3> kJpegStart = {0xff, 0xd8, 0xff};
constexpr std::array<uint8_t, 8> kPngStart = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

template <size_t kSize>
bool StartsWith(std::span<const std::byte> file, const std::array<uint8_t, kSize>& start) {
  return file.size() >= kSize &&
         std::equal(start.begin(), start.end(), file.begin(), [](uint8_t wanted, std::byte found) {
           return std::to_integer<uint8_t>(found) == wanted;
         });
}

}  // namespace

absl::Status CheckImageSize(int64_t height, int64_t width, int64_t most_pixels) {
  const bool sides =
      height >= 1 && width >= 1 && height <= kLongestImageSide && width <= kLongestImageSide;
  if (sides && height <= most_pixels / width) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the image is ", width, " x ", height, " pixels, expected 1 to ",
                   kLongestImageSide, " on each side and at most ", most_pixels, " in all"));
}

bool IsImageName(absl::string_view name) {
  for (const char* end : {".jpg", ".jpeg", ".png"}) {
    if (absl::EndsWithIgnoreCase(name, end)) return true;
  }
  return false;
}

absl::StatusOr<Image> DecodeImage(std::span<const std::byte> file, int64_t most_pixels) {
  if (StartsWith(file, kJpegStart)) return DecodeJpeg(file, most_pixels);
  if (StartsWith(file, kPngStart)) return DecodePng(file, most_pixels);
  return absl::InvalidArgumentError("the content is neither JPEG nor PNG");
}

}  // namespace octet::runtime
