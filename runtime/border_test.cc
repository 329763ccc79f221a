#include "runtime/border.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename From, typename To>
std::vector<To> In(DataType border, const std::vector<From>& values) {
  std::vector<To> result(values.size());
  FromBorder(border, Bytes(values), reinterpret_cast<std::byte*>(result.data()));
  return result;
}

template <typename From, typename To>
std::vector<To> Out(DataType border, const std::vector<From>& values) {
  std::vector<To> result(values.size());
  ToBorder(border, Bytes(values), reinterpret_cast<std::byte*>(result.data()));
  return result;
}

TEST(Border, HalfBecomesFloat) {
  // 1, -2, the largest, the smallest subnormal, infinity.
  EXPECT_THAT((In<uint16_t, float>(DataType::kFloat16, {0x3C00, 0xC000, 0x7BFF, 0x0001, 0x7C00})),
              ElementsAre(1.0f, -2.0f, 65504.0f, 0x1p-24f, HUGE_VALF));
}

TEST(Border, FloatBecomesHalfRoundedToEven) {
  EXPECT_THAT((Out<float, uint16_t>(DataType::kFloat16,
                                    {1.0f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 1e6f})),
              ElementsAre(0x3C00, 0x3C00, 0x3C02, 0x7C00));
}

TEST(Border, BFloat16IsTheUpperHalfOfAFloat) {
  EXPECT_THAT((In<uint16_t, float>(DataType::kBFloat16, {0x3F80, 0xC040})),
              ElementsAre(1.0f, -3.0f));
  EXPECT_THAT((Out<float, uint16_t>(DataType::kBFloat16, {1.0f, -3.0f, 1.00390625f})),
              ElementsAre(0x3F80, 0xC040, 0x3F80));
}

TEST(Border, DoublesAreNarrowedAndWidened) {
  EXPECT_THAT((In<double, float>(DataType::kFloat64, {0.1, -1e300})),
              ElementsAre(0.1f, -HUGE_VALF));
  EXPECT_THAT((Out<float, double>(DataType::kFloat64, {0.1f})), ElementsAre(double{0.1f}));
}

TEST(Border, EveryOtherTypePassesUnchanged) {
  EXPECT_THAT((In<int64_t, int64_t>(DataType::kInt64, {std::numeric_limits<int64_t>::min(), 5})),
              ElementsAre(std::numeric_limits<int64_t>::min(), 5));
  EXPECT_THAT((Out<uint8_t, uint8_t>(DataType::kBool, {1, 0})), ElementsAre(1, 0));
  EXPECT_THAT((Out<float, float>(DataType::kFloat32, {1.5f})), ElementsAre(1.5f));
}

TEST(Border, EveryHalfSurvivesTheRoundTrip) {
  std::vector<uint16_t> halves;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7C00) == 0x7C00 && (bits & 0x3FF) != 0) continue;  // NaN
    halves.push_back(static_cast<uint16_t>(bits));
  }
  const auto floats = In<uint16_t, float>(DataType::kFloat16, halves);
  EXPECT_EQ((Out<float, uint16_t>(DataType::kFloat16, floats)), halves);
}

TEST(Border, BytesMayBeUnaligned) {
  std::vector<std::byte> shifted(1 + 2 * sizeof(double));
  const double values[] = {1.5, -2.5};
  std::memcpy(shifted.data() + 1, values, sizeof(values));
  std::vector<std::byte> to(1 + 2 * sizeof(float));
  FromBorder(DataType::kFloat64, std::span(shifted).subspan(1), to.data() + 1);
  float result[2];
  std::memcpy(result, to.data() + 1, sizeof(result));
  EXPECT_THAT(result, ElementsAre(1.5f, -2.5f));
}

TEST(Border, NothingStaysNothing) {
  FromBorder(DataType::kFloat16, {}, nullptr);
  ToBorder(DataType::kFloat32, {}, nullptr);
}

}  // namespace
}  // namespace octet::runtime
