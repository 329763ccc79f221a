#include "base/tensor.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet {
namespace {

using ::testing::ElementsAre;

TEST(Tensor, AllocatesAlignedZeroes) {
  const Tensor tensor = *Tensor::Allocate(DataType::kInt32, {2, 3});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % 64, 0u);
  EXPECT_THAT(tensor.As<int32_t>(), ElementsAre(0, 0, 0, 0, 0, 0));
}

TEST(Tensor, CopiesShareBytesAndIdentity) {
  const Tensor tensor = Tensor::Of<float>({2}, {1.0f, 2.0f});
  const Tensor copy = tensor;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(copy.data(), tensor.data());
  EXPECT_EQ(copy.id(), tensor.id());
  EXPECT_NE(Tensor::Of<float>({2}, {1.0f, 2.0f}).id(), tensor.id());
  EXPECT_EQ(tensor.WithoutBytes().id(), tensor.id());
  EXPECT_FALSE(tensor.WithoutBytes().has_bytes());
}

TEST(CheckedByteSize, RefusesWhatDoesNotFit) {
  EXPECT_EQ(*CheckedByteSize(DataType::kFloat32, {2, 3}), 24u);
  EXPECT_EQ(*CheckedByteSize(DataType::kFloat32, {}), 4u);
  EXPECT_EQ(*CheckedByteSize(DataType::kFloat32, {0, 1'000'000'000'000}), 0u);
  EXPECT_EQ(CheckedByteSize(DataType::kFloat32, {-1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const int64_t huge = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(CheckedByteSize(DataType::kInt8, {huge, huge, huge}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(DataType, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DataType::kBool); ++i) {
    const auto type = static_cast<DataType>(i);
    EXPECT_EQ(DataTypeFromName(Name(type)), type);
  }
  EXPECT_EQ(DataTypeFromName("fp32"), std::nullopt);
}

TEST(Half, RoundTripsEveryBitPattern) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      EXPECT_EQ(FloatToHalf(value), half);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0f + 1.0f / 2048), FloatToHalf(1.0f));  // a tie goes to the even one
  EXPECT_EQ(FloatToHalf(1.0f + 3.0f / 2048), FloatToHalf(1.0f) + 2);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToBFloat16(1.0f + 1.0f / 256), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(1.0f + 3.0f / 256), 0x3f82);
}

}  // namespace
}  // namespace octet
