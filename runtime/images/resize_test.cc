#include "runtime/images/resize.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// Each channel has a pattern of its own; uneven, and beyond 255 from the start again.
Image Pattern(int height, int width) {
  Image image = {.height = height, .width = width};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(37 * x + 91 * y + x * y * 13));
      image.pixels.push_back(static_cast<uint8_t>(53 * x + 17 * y * y + 5));
      image.pixels.push_back(static_cast<uint8_t>(201 + 7 * x * x + 29 * y));
    }
  }
  return image;
}

void ExpectResized(int height, int width, const std::vector<uint8_t>& expected) {
  const auto resized = Resize(Pattern(7, 5), height, width);
  ASSERT_TRUE(resized.ok()) << resized.status();
  EXPECT_EQ(resized->height, height);
  EXPECT_EQ(resized->width, width);
  EXPECT_THAT(resized->pixels, ElementsAreArray(expected));
}

// What Image.resize((width, height), BILINEAR) of Pillow 13.0.0 makes of the pattern.
TEST(Resize, Shrinks) {
  ExpectResized(
      3, 2,
      {111, 80, 149, 135, 169, 68, 125, 119, 55, 148, 124, 101, 109, 135, 106, 148, 105, 162});
}

TEST(Resize, ShrinksOneSide) {
  ExpectResized(7, 2, {37,  58,  201, 111, 164, 83,  141, 75,  172, 160, 181, 54,  175, 126,
                       15,  127, 151, 71,  93,  141, 44,  164, 73,  100, 127, 74,  73,  131,
                       180, 129, 126, 157, 102, 168, 89,  158, 79,  146, 131, 135, 78,  187});
}

TEST(Resize, ShrinksByUnevenSteps) {
  ExpectResized(4, 5, {48,  16,  204, 91,  69,  211, 123, 122, 122, 167, 175, 23,  101, 215, 72,
                       118, 87,  57,  182, 140, 64,  113, 121, 33,  177, 174, 68,  118, 94,  117,
                       101, 90,  59,  137, 143, 66,  92,  73,  87,  180, 126, 122, 145, 179, 171,
                       108, 131, 104, 107, 184, 111, 69,  127, 132, 177, 46,  167, 175, 99,  216});
}

TEST(Resize, Grows) {
  ExpectResized(
      9, 11,
      {0,   5,   201, 7,   15,  202, 24,  39,  205, 40,  63,  210, 57,  87,  219, 74,  111, 229,
       91,  135, 129, 108, 159, 28,  124, 183, 26,  141, 207, 48,  148, 217, 57,  61,  16,  220,
       69,  26,  221, 90,  50,  224, 111, 74,  214, 131, 98,  146, 152, 122, 78,  173, 146, 55,
       193, 170, 32,  152, 194, 45,  95,  218, 67,  73,  228, 76,  131, 45,  129, 141, 55,  130,
       167, 79,  133, 182, 103, 125, 156, 127, 70,  129, 151, 15,  155, 175, 31,  180, 199, 47,
       154, 181, 68,  114, 154, 90,  99,  143, 99,  145, 92,  9,   157, 102, 10,  187, 126, 13,
       199, 145, 18,  139, 143, 27,  78,  141, 37,  108, 165, 53,  138, 189, 69,  147, 141, 90,
       152, 74,  112, 153, 48,  121, 17,  158, 32,  31,  168, 33,  65,  192, 36,  100, 193, 41,
       134, 100, 50,  169, 8,   60,  204, 32,  76,  238, 56,  92,  180, 80,  113, 98,  104, 135,
       65,  114, 144, 88,  51,  55,  103, 61,  56,  143, 85,  59,  164, 104, 64,  112, 102, 73,
       61,  101, 83,  100, 125, 99,  139, 149, 115, 157, 173, 136, 171, 197, 158, 176, 207, 167,
       159, 106, 77,  150, 116, 78,  129, 140, 81,  111, 151, 86,  103, 110, 95,  95,  70,  105,
       138, 94,  121, 183, 118, 137, 174, 142, 158, 154, 166, 180, 145, 176, 189, 144, 151, 100,
       132, 161, 101, 103, 185, 104, 81,  194, 109, 91,  140, 118, 101, 86,  128, 149, 72,  144,
       198, 57,  160, 184, 73,  181, 154, 97,  203, 143, 107, 212, 34,  105, 119, 55,  115, 120,
       107, 139, 123, 136, 163, 128, 72,  187, 137, 8,   211, 147, 60,  119, 163, 113, 26,  179,
       165, 27,  200, 217, 51,  222, 238, 61,  231});
}

TEST(Resize, TheSameSizeIsTheSameImage) { ExpectResized(7, 5, Pattern(7, 5).pixels); }

TEST(Resize, OnePixel) {
  const auto resized = Resize({.height = 1, .width = 1, .pixels = {3, 4, 5}}, 2, 2);
  ASSERT_TRUE(resized.ok()) << resized.status();
  EXPECT_THAT(resized->pixels, ElementsAreArray({3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5}));
}

TEST(Resize, RefusesWhatIsTooLarge) {
  const Image tall = {.height = 60'000, .width = 1, .pixels = std::vector<uint8_t>(180'000)};
  EXPECT_EQ(Resize(tall, 10, 10'000).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Resize(Pattern(7, 5), 20'000, 20'000).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Resize(tall, 10, 100).ok());
}

TEST(SizeWithShorterSide, KeepsProportions) {
  const auto size = [](int64_t height, int64_t width) {
    const ImageSize result = SizeWithShorterSide({.height = height, .width = width}, 256);
    return std::pair(result.height, result.width);
  };
  EXPECT_EQ(size(375, 500), std::pair(int64_t{256}, int64_t{341}));  // 341.33
  EXPECT_EQ(size(500, 333), std::pair(int64_t{384}, int64_t{256}));  // 384.38
  EXPECT_EQ(size(100, 199), std::pair(int64_t{256}, int64_t{509}));  // 509.44
  EXPECT_EQ(size(70, 70), std::pair(int64_t{256}, int64_t{256}));
}

// Margins as round() of Python makes them: 0.5 to 0, 1.5 to 2.
TEST(CropCenter, TakesTheMiddle) {
  const auto first_pixel = [](int height, int width, int64_t crop_height, int64_t crop_width) {
    const auto cropped = CropCenter(Pattern(height, width), crop_height, crop_width);
    EXPECT_TRUE(cropped.ok()) << cropped.status();
    EXPECT_EQ(static_cast<int64_t>(cropped->pixels.size()), crop_height * crop_width * 3);
    return cropped->pixels;
  };
  const auto at = [](int height, int width, int y, int x) {
    return Pattern(height, width).pixels[static_cast<size_t>((y * width + x) * 3)];
  };
  EXPECT_EQ(first_pixel(7, 5, 3, 3)[0], at(7, 5, 2, 1));
  EXPECT_EQ(first_pixel(7, 5, 3, 3).back(), Pattern(7, 5).pixels[(4 * 5 + 3) * 3 + 2]);
  EXPECT_EQ(first_pixel(7, 5, 6, 4)[0], at(7, 5, 0, 0));
  EXPECT_EQ(first_pixel(7, 5, 4, 2)[0], at(7, 5, 2, 2));
  EXPECT_THAT(CropCenter(Pattern(7, 5), 7, 6).status().message(),
              HasSubstr("crop: [7, 6] is larger than the image, which is [7, 5]"));
}

}  // namespace
}  // namespace octet::runtime
