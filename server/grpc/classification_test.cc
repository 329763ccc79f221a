#include "server/grpc/classification.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Elements(const std::string& bytes) {
  std::vector<std::string> elements;
  for (size_t at = 0; at < bytes.size();) {
    const auto byte = [&](size_t i) {
      return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i]));
    };
    const uint32_t size = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    elements.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  return elements;
}

TEST(ClassificationTest, HighestFirstAndEqualOnesByIndex) {
  const std::vector<float> scores = {0.25f, 0.5f, -1, 0.5f, 1, 2, 3, 4};
  const Classification classes =
      Classify(DataType::kFloat32, {2, 4}, std::as_bytes(std::span(scores)), true, 3);
  EXPECT_EQ(classes.shape, Shape({2, 3}));
  EXPECT_THAT(Elements(classes.bytes), ElementsAre("0.500000:1", "0.500000:3", "0.250000:0",
                                                   "4.000000:3", "3.000000:2", "2.000000:1"));
}

TEST(ClassificationTest, NoMoreClassesThanElements) {
  const std::vector<uint8_t> scores = {7, 250};
  const Classification classes =
      Classify(DataType::kUint8, {2}, std::as_bytes(std::span(scores)), false, 1'000'000);
  EXPECT_EQ(classes.shape, Shape({2}));
  EXPECT_THAT(Elements(classes.bytes), ElementsAre("250:1", "7:0"));
}

TEST(ClassificationTest, NotANumberComesLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> scores = {nan, -1, nan, 2};
  const Classification classes =
      Classify(DataType::kFloat32, {1, 4}, std::as_bytes(std::span(scores)), true, 4);
  const std::vector<std::string> elements = Elements(classes.bytes);
  EXPECT_EQ(elements[0], "2.000000:3");
  EXPECT_EQ(elements[1], "-1.000000:1");
  EXPECT_TRUE(elements[2].ends_with(":0"));
}

TEST(ClassificationTest, SixteenBitTypesMeanWhatTheySay) {
  const std::vector<uint16_t> halves = {FloatToHalf(0.5f), FloatToHalf(-2)};
  EXPECT_THAT(
      Elements(Classify(DataType::kFloat16, {2}, std::as_bytes(std::span(halves)), false, 2).bytes),
      ElementsAre("0.500000:0", "-2.000000:1"));
  const std::vector<uint16_t> integers = {3, 65535};
  EXPECT_THAT(
      Elements(
          Classify(DataType::kUint16, {2}, std::as_bytes(std::span(integers)), false, 1).bytes),
      ElementsAre("65535:1"));
}

}  // namespace
}  // namespace octet::server
