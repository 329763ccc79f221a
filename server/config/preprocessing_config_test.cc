#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"
#include "server/config/quantization_yaml.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<LoadedConfig> Parse(const std::string& settings) {
  return ParseConfig(absl::StrCat("quantization: {calibration: {preprocessing: {", settings, "}}}"),
                     "f.yaml");
}

PreprocessingConfig Parsed(const std::string& settings) {
  const auto loaded = Parse(settings);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? loaded->config.quantization.calibration.preprocessing
                     : PreprocessingConfig();
}

std::string ErrorOf(const std::string& settings) {
  return std::string(Parse(settings).status().message());
}

constexpr char kPath[] = "f.yaml:line 1: quantization.calibration.preprocessing";

TEST(PreprocessingConfig, Values) {
  const PreprocessingConfig all = Parsed(
      "resize: 256, crop: [224, 192], mean: [0.485, 0.456, 0.406], std: [0.5], scale: 1, "
      "layout: nhwc, color: bgr");
  EXPECT_EQ(all.resize.height, 256);
  EXPECT_EQ(all.resize.width, 0);
  EXPECT_EQ(all.crop.height, 224);
  EXPECT_EQ(all.crop.width, 192);
  EXPECT_THAT(all.mean, ElementsAre(0.485, 0.456, 0.406));
  EXPECT_THAT(all.std, ElementsAre(0.5));
  EXPECT_EQ(all.scale, 1);
  EXPECT_EQ(all.layout, ImageLayout::kNhwc);
  EXPECT_EQ(all.color, ImageColor::kBgr);
  EXPECT_EQ(Parsed("resize: [3, 4]").resize.width, 4);
  EXPECT_FALSE(Parsed("").scale.has_value());
}

TEST(PreprocessingConfig, WrongValues) {
  const std::string list = ": must be a list of 1 or 3 ";
  EXPECT_EQ(ErrorOf("mean: 0.5"), absl::StrCat(kPath, ".mean", list, "numbers, not '0.5'"));
  EXPECT_THAT(ErrorOf("mean: [1, 2]"), HasSubstr(list));
  EXPECT_THAT(ErrorOf("mean: [nan]"), HasSubstr(list));
  EXPECT_THAT(ErrorOf("std: [0]"), HasSubstr(absl::StrCat(list, "positive numbers")));
  EXPECT_THAT(ErrorOf("resize: 0"), HasSubstr("[height, width], or the length of the shorter"));
  EXPECT_THAT(ErrorOf("resize: [1, 2, 3]"), HasSubstr("resize: must be [height, width]"));
  EXPECT_THAT(ErrorOf("resize: 2, crop: 1"), HasSubstr("crop: must be [height, width], not '1'"));
  EXPECT_THAT(ErrorOf("scale: 0"), HasSubstr("scale: must be a number from"));
  EXPECT_THAT(ErrorOf("color: grey"), HasSubstr("must be one of rgb, bgr, gray"));
}

TEST(PreprocessingConfig, ValuesThatContradict) {
  EXPECT_EQ(ErrorOf("crop: [1, 1]"), absl::StrCat(kPath, ": crop needs resize"));
  EXPECT_EQ(ErrorOf("resize: [4, 4], crop: [4, 5]"),
            absl::StrCat(kPath, ": crop is larger than resize"));
  EXPECT_EQ(ErrorOf("mean: [0]"), absl::StrCat(kPath, ": mean and std go together"));
  EXPECT_THAT(ErrorOf("color: gray, mean: [0, 0, 0], std: [1]"), HasSubstr("one channel"));
}

// `octet tune` writes what it read: the last digit counts.
TEST(PreprocessingConfig, ComesBackAsItWas) {
  QuantizationConfig config;
  config.calibration.preprocessing =
      Parsed("resize: 9, crop: [7, 8], mean: [0.48145466, 1, 2], std: [0.26862954, 3, 4]");
  const std::string text = QuantizationYaml(config);
  EXPECT_THAT(text, HasSubstr("mean: [0.48145466, 1, 2]"));
  EXPECT_THAT(text, HasSubstr("crop: [7, 8]"));
  const auto loaded = ParseConfig(text, "f.yaml");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(QuantizationYaml(loaded->config.quantization), text);
  EXPECT_THAT(QuantizationYaml(QuantizationConfig()), Not(HasSubstr("mean:")));
}

}  // namespace
}  // namespace octet::server
