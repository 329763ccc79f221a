#include "runtime/images/decode.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/image_writer.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Jpeg;
using testing::Png;

using Bytes = std::vector<uint8_t>;

absl::StatusOr<Image> Decode(const std::string& file, int64_t most_pixels = kMostImagePixels) {
  return DecodeImage(std::as_bytes(std::span(file.data(), file.size())), most_pixels);
}

Bytes Pixels(const std::string& file) {
  const auto image = Decode(file);
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? image->pixels : Bytes();
}

std::string ErrorOf(const std::string& file) {
  const auto image = Decode(file);
  EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument) << image.status();
  return std::string(image.status().message());
}

// 16 x 24 in which every pixel differs from its neighbours only a little: as JPEG keeps it.
Bytes Slope(int components) {
  Bytes pixels;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      for (int c = 0; c < components; ++c) {
        pixels.push_back(static_cast<uint8_t>(20 + 5 * x + 3 * y + 20 * c));
      }
    }
  }
  return pixels;
}

int LargestDifference(const Bytes& a, const Bytes& b) {
  int largest = a.size() == b.size() ? 0 : 256;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(int{a[i]} - int{b[i]}));
  }
  return largest;
}

TEST(DecodePng, RedGreenBlue) {
  const Bytes pixels = {1, 2, 3, 40, 50, 60, 255, 0, 128, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto image = Decode(testing::RgbPng(2, 3, pixels));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->height, 2);
  EXPECT_EQ(image->width, 3);
  EXPECT_EQ(image->pixels, pixels);
  EXPECT_EQ(Pixels(Png({.width = 3, .height = 2, .interlaced = true}, pixels)), pixels);
}

TEST(DecodePng, AlphaIsDropped) {
  EXPECT_THAT(Pixels(Png({.width = 2, .height = 1, .color_type = PNG_COLOR_TYPE_RGB_ALPHA},
                         {1, 2, 3, 0, 4, 5, 6, 255})),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Pixels(Png({.width = 2, .height = 1, .color_type = PNG_COLOR_TYPE_GRAY_ALPHA},
                         {9, 0, 8, 128})),
              ElementsAre(9, 9, 9, 8, 8, 8));
}

TEST(DecodePng, GreyAndFewBits) {
  const testing::PngForm grey = {.width = 2, .height = 1, .color_type = PNG_COLOR_TYPE_GRAY};
  EXPECT_THAT(Pixels(Png(grey, {7, 200})), ElementsAre(7, 7, 7, 200, 200, 200));
  testing::PngForm bits = grey;
  bits.bit_depth = 1;  // black, white
  EXPECT_THAT(Pixels(Png(bits, {0x40})), ElementsAre(0, 0, 0, 255, 255, 255));
  bits.bit_depth = 4;  // 1 and 15 of 15
  EXPECT_THAT(Pixels(Png(bits, {0x1f})), ElementsAre(17, 17, 17, 255, 255, 255));
}

TEST(DecodePng, SixteenBitsBecomeTheNearestEight) {
  // 257 of the 65536 values are 1 of 256.
  EXPECT_THAT(Pixels(Png({.width = 1, .height = 1, .bit_depth = 16}, {1, 1, 128, 255, 255, 0})),
              ElementsAre(1, 128, 254));
}

TEST(DecodePng, Palette) {
  EXPECT_THAT(Pixels(Png({.width = 3,
                          .height = 1,
                          .color_type = PNG_COLOR_TYPE_PALETTE,
                          .palette = {{1, 2, 3}, {250, 251, 252}}},
                         {1, 0, 1})),
              ElementsAre(250, 251, 252, 1, 2, 3, 250, 251, 252));
}

TEST(DecodeJpeg, RedGreenBlue) {
  for (const bool progressive : {false, true}) {
    const auto image =
        Decode(Jpeg({.width = 24, .height = 16, .progressive = progressive}, Slope(3)));
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->height, 16);
    EXPECT_EQ(image->width, 24);
    EXPECT_LE(LargestDifference(image->pixels, Slope(3)), 6);
  }
}

TEST(DecodeJpeg, GreyBecomesThreeAlike) {
  const Bytes slope = Slope(1);
  const Bytes pixels =
      Pixels(Jpeg({.width = 24, .height = 16, .components = 1, .colors = JCS_GRAYSCALE}, slope));
  ASSERT_EQ(pixels.size(), 3 * slope.size());
  for (size_t i = 0; i < slope.size(); ++i) {
    EXPECT_NEAR(pixels[3 * i], slope[i], 2);
    EXPECT_EQ(pixels[3 * i], pixels[3 * i + 1]);
    EXPECT_EQ(pixels[3 * i], pixels[3 * i + 2]);
  }
}

TEST(DecodeJpeg, CmykIsRefused) {
  EXPECT_THAT(
      ErrorOf(Jpeg({.width = 24, .height = 16, .components = 4, .colors = JCS_CMYK}, Slope(4))),
      HasSubstr("CMYK or another colour space of 4 components, expected grey or RGB"));
}

TEST(DecodeImage, DamagedFiles) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("neither JPEG nor PNG"));
  EXPECT_THAT(ErrorOf("GIF89a"), HasSubstr("neither JPEG nor PNG"));
  const std::string png = testing::RgbPng(16, 24, Slope(3));
  const std::string jpeg = Jpeg({.width = 24, .height = 16}, Slope(3));
  const std::string progressive = Jpeg({.width = 24, .height = 16, .progressive = true}, Slope(3));
  for (size_t size = 8; size + 1 < png.size(); ++size) {
    EXPECT_THAT(ErrorOf(png.substr(0, size)), HasSubstr("damaged PNG: "));
  }
  for (const std::string& file : {jpeg, progressive}) {
    for (size_t size = 3; size + 2 < file.size(); ++size) {
      EXPECT_THAT(ErrorOf(file.substr(0, size)), HasSubstr("damaged JPEG: "));
    }
  }
  std::string wrong = png;
  wrong[png.size() / 2] ^= 1;
  EXPECT_THAT(ErrorOf(wrong), HasSubstr("damaged PNG: "));
}

// Before anything is allocated for their pixels.
TEST(DecodeImage, LargeImagesAreRefused) {
  std::string png = testing::RgbPng(16, 24, Slope(3));
  EXPECT_TRUE(Decode(png, 16 * 24).ok());
  EXPECT_THAT(Decode(png, 16 * 24 - 1).status().message(),
              HasSubstr("24 x 16 pixels, expected 1 to 65535 on each side and at most 383 in all"));
  const std::string jpeg = Jpeg({.width = 24, .height = 16}, Slope(3));
  EXPECT_TRUE(Decode(jpeg, 16 * 24).ok());
  EXPECT_EQ(Decode(jpeg, 100).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(CheckImageSize(1, kLongestImageSide + 1).ok());
  EXPECT_FALSE(CheckImageSize(0, 1).ok());
  EXPECT_FALSE(CheckImageSize(60'000, 60'000).ok());
  EXPECT_TRUE(CheckImageSize(10'000, 10'000).ok());
}

TEST(IsImageName, EndsInAnyCase) {
  for (const char* name : {"a.jpg", "b/a.JPEG", "a.b.Png"}) EXPECT_TRUE(IsImageName(name)) << name;
  for (const char* name : {"a.gif", "jpg", "a.jpg.txt", "a.npz"}) {
    EXPECT_FALSE(IsImageName(name)) << name;
  }
}

}  // namespace
}  // namespace octet::runtime
