#include "kernels/channel_padding.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

TEST(InterleavePlanes, PutsThePlanesSideBySideAndZerosBehind) {
  for (int64_t channels = 1; channels <= 3; ++channels) {
    for (const int64_t pixels : {1, 5, 64, 131}) {
      std::vector<uint8_t> planes(static_cast<size_t>(channels * pixels));
      std::iota(planes.begin(), planes.end(), uint8_t{1});
      std::vector<uint8_t> to(static_cast<size_t>(pixels * kPaddedChannels + 1), 0xEE);
      InterleavePlanes(planes.data(), channels, pixels, to.data());
      for (int64_t i = 0; i < pixels; ++i) {
        for (int64_t c = 0; c < kPaddedChannels; ++c) {
          const uint8_t expected =
              c < channels ? planes[static_cast<size_t>(c * pixels + i)] : uint8_t{0};
          ASSERT_EQ(to[static_cast<size_t>(i * kPaddedChannels + c)], expected);
        }
      }
      EXPECT_EQ(to.back(), 0xEE);
    }
  }
}

}  // namespace
}  // namespace octet::kernels
