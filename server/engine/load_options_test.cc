#include "server/engine/load_options.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"

namespace octet::server {
namespace {

// What `quantization: {settings}` asks of loading a model.
runtime::LoadOptions Options(const std::string& settings) {
  const auto loaded = ParseConfig(absl::StrCat("quantization: {", settings, "}"), "f.yaml", {});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? ToLoadOptions(loaded->config.ForModel("m"), 1) : runtime::LoadOptions();
}

TEST(ToLoadOptions, Equalization) {
  using Equalization = runtime::QuantizeOptions::Equalization;
  const auto wanted = [](const std::string& value) {
    return Options(absl::StrCat("transforms: {cross_layer_equalization: ", value, "}"))
        .quantization.equalization;
  };
  EXPECT_EQ(Options("").quantization.equalization, Equalization::kAuto);
  EXPECT_EQ(wanted("auto"), Equalization::kAuto);
  EXPECT_EQ(wanted("on"), Equalization::kOn);
  EXPECT_EQ(wanted("off"), Equalization::kOff);
}

TEST(ToLoadOptions, SchemeAndGranularityOfActivations) {
  runtime::QuantizeOptions options = Options("").quantization;
  EXPECT_FALSE(options.symmetric_activations);
  EXPECT_TRUE(options.ranges_by_token);
  options = Options("activations: {scheme: symmetric, granularity: per_tensor}").quantization;
  EXPECT_TRUE(options.symmetric_activations);
  EXPECT_FALSE(options.ranges_by_token);
  options = Options(
                "activations: {timing: dynamic, scheme: asymmetric, granularity: per_token}, "
                "layers: [{match: a, activations: {scheme: symmetric, granularity: per_tensor}}]")
                .quantization;
  EXPECT_FALSE(options.symmetric_activations);
  EXPECT_TRUE(options.ranges_by_token);
  EXPECT_EQ(options.layers.at(0).symmetric, true);
  EXPECT_EQ(options.layers.at(0).by_token, false);
}

}  // namespace
}  // namespace octet::server
