#include "server/config/config_changes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config Parse(const std::string& text) {
  auto loaded = ParseConfig(text, "octet.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded->config;
}

TEST(ConfigChangesTest, NamesWhatDiffers) {
  const Config before = Parse("model_repository: /m\nserver: {grpc_port: 1}\n");
  const Config after =
      Parse("model_repository: /m\nserver: {grpc_port: 3}\nquantization: {mode: int8}");
  const std::vector<SettingChange> changes = ChangedSettings(before, after);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].path, "server.grpc_port");
  EXPECT_EQ(changes[0].before, "1");
  EXPECT_EQ(changes[0].after, "3");
  EXPECT_EQ(changes[1].path, "quantization.mode");
  EXPECT_TRUE(NeedsRestart(changes[0].path));
  EXPECT_FALSE(NeedsRestart(changes[1].path));
  EXPECT_THAT(ChangedSettings(after, after), IsEmpty());
}

TEST(ConfigChangesTest, LoadedSettingsSeeEveryLevel) {
  const auto settings = [](const std::string& text) {
    return LoadedSettings(Parse(text).ForModel("m"));
  };
  const std::string plain = settings("model_repository: /m\n");
  EXPECT_EQ(settings("model_repository: /n\nserver: {http_port: 0}\n"), plain);
  EXPECT_EQ(settings("models: [{name: m, path: /x, version_policy: all}]"), plain);
  EXPECT_NE(settings("quantization: {mode: int8}"), plain);
  EXPECT_EQ(settings("quantization: {mode: int8}\nmodels: [{name: m, quantization: {mode: fp32}}]"),
            plain);
  EXPECT_NE(settings("models: [{name: m, batching: {max_batch_size: 3}}]"), plain);
  EXPECT_NE(settings("quantization: {layers: [{match: /a, mode: int8}]}"),
            settings("quantization: {layers: [{match: /a, mode: fp32}]}"));
}

TEST(ConfigChangesTest, AModelIsOverridden) {
  Config config = Parse("quantization: {mode: int8}\nmodels: [{name: m, path: /x}]");
  ASSERT_TRUE(OverrideModel("m", R"({"quantization": {"mode": "fp32"}})", config).ok());
  EXPECT_EQ(config.ForModel("m").quantization.mode, QuantizationMode::kFloat32);
  EXPECT_EQ(config.ForModel("m").path, "/x");
  ASSERT_TRUE(OverrideModel("n", R"({"quantization": {"mode": "fp32"}})", config).ok());
  EXPECT_EQ(config.ForModel("n").quantization.mode, QuantizationMode::kFloat32);
  EXPECT_EQ(config.ForModel("o").quantization.mode, QuantizationMode::kInt8);
  const auto refused = [&](const std::string& text) {
    return std::string(OverrideModel("m", text, config).message());
  };
  EXPECT_THAT(refused(R"({"path": "/etc/passwd"})"), HasSubstr("unknown key 'path'"));
  EXPECT_THAT(refused(R"({"quantization": {"mode": "int7"}})"), HasSubstr("int7"));
  EXPECT_THAT(refused("[1"), HasSubstr("config:line"));
  EXPECT_EQ(config.ForModel("m").quantization.mode, QuantizationMode::kFloat32);
}

}  // namespace
}  // namespace octet::server
