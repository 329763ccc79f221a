#include "server/config/quantization_yaml.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

QuantizationConfig Parsed(const std::string& text) {
  const absl::StatusOr<LoadedConfig> loaded = ParseConfig(text, "test.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status() << "\n" << text;
  return loaded.ok() ? loaded->config.quantization : QuantizationConfig();
}

TEST(QuantizationYaml, DefaultsComeBack) {
  const std::string text = QuantizationYaml(QuantizationConfig());
  EXPECT_THAT(text, HasSubstr("\n  mode: fp32\n"));
  EXPECT_THAT(text, HasSubstr("\n    algorithm: least_squares\n"));
  EXPECT_EQ(QuantizationYaml(Parsed(text)), text);
}

// Text that YAML would read as something else.
TEST(QuantizationYaml, TextComesBackAsItWas) {
  QuantizationConfig config;
  config.mode = QuantizationMode::kInt8;
  config.calibration.path = "/data/a: b # c/\"quoted\"\\[1]";
  config.accuracy.metric = AccuracyMetricName::kTop1;
  config.accuracy.target.max_drop = 0.25;
  config.accuracy.validation = "none";
  config.budget.seconds = 12.5;
  config.layers = {{"/head, {x}/*", QuantizationMode::kInt8}, {"*", QuantizationMode::kFloat32}};
  const QuantizationConfig parsed = Parsed(QuantizationYaml(config));
  EXPECT_EQ(parsed.mode, QuantizationMode::kInt8);
  EXPECT_EQ(parsed.calibration.path, config.calibration.path);
  EXPECT_EQ(parsed.accuracy.target.max_drop, 0.25);
  EXPECT_EQ(parsed.accuracy.validation, "none");
  EXPECT_EQ(parsed.budget.seconds, 12.5);
  ASSERT_EQ(parsed.layers.size(), 2u);
  EXPECT_EQ(parsed.layers[0].match, "/head, {x}/*");
  EXPECT_EQ(parsed.layers[0].mode, QuantizationMode::kInt8);
  EXPECT_EQ(parsed.layers[1].match, "*");
}

TEST(QuantizationYaml, WhatIsNotSetIsLeftOut) {
  EXPECT_THAT(QuantizationYaml(QuantizationConfig()), Not(HasSubstr("path:")));
}

}  // namespace
}  // namespace octet::server
