#include "kernels/physical_layout.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
using ::testing::ElementsAre;
using tag = memory::format_tag;

constexpr auto kType = memory::data_type::f32;

TEST(PhysicalLayout, SeesChannelsLast) {
  const auto layout = PhysicalLayout::Of(memory::desc({2, 3, 4, 5}, kType, tag::nhwc));
  ASSERT_TRUE(layout);
  EXPECT_FALSE(layout->row_major());
  EXPECT_THAT(layout->Dims({2, 3, 4, 5}), ElementsAre(2, 4, 5, 3));
  EXPECT_EQ(layout->Desc({1, 7, 2, 2}, kType), memory::desc({1, 7, 2, 2}, kType, tag::nhwc));
}

TEST(PhysicalLayout, SeesBlocksOfChannels) {
  for (const auto& [format, block] : {std::pair(tag::nChw8c, 8), std::pair(tag::nChw16c, 16)}) {
    const auto layout = PhysicalLayout::Of(memory::desc({2, 32, 4, 5}, kType, format));
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->step(1), block);
    EXPECT_EQ(layout->step(2), 1);
    EXPECT_THAT(layout->Dims({1, 48, 2, 3}), ElementsAre(1, 48 / block, 2, 3, block));
    EXPECT_EQ(layout->Desc({1, 48, 2, 3}, kType), memory::desc({1, 48, 2, 3}, kType, format));
    EXPECT_FALSE(layout->Fits({1, 20, 2, 3}));
  }
}

TEST(PhysicalLayout, RefusesGapsPaddingAndOtherBlocks) {
  EXPECT_FALSE(PhysicalLayout::Of(memory::desc({2, 30, 4, 5}, kType, tag::nChw16c)));
  EXPECT_FALSE(PhysicalLayout::Of(memory::desc({4, 6}, kType, memory::dims{8, 1})));
  EXPECT_FALSE(PhysicalLayout::Of(memory::desc({32, 32, 3, 3}, kType, tag::OIhw16i16o)));
}

TEST(PhysicalLayout, KnowsRowMajor) {
  EXPECT_TRUE(PhysicalLayout::Of(memory::desc({2, 3, 4}, kType, tag::abc))->row_major());
  EXPECT_FALSE(PhysicalLayout::Of(memory::desc({2, 3, 4}, kType, tag::cba))->row_major());
}

}  // namespace
}  // namespace octet::kernels
