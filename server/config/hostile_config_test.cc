// Files made to hurt: each is refused with its reason, in bounded time and memory.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"
#include "server/config/yaml_reader.h"

namespace octet::server {
namespace {

std::string ErrorOf(const std::string& text) {
  const absl::StatusOr<LoadedConfig> loaded = ParseConfig(text, "f.yaml");
  if (loaded.ok()) return "ok";
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(loaded.status().message());
}

std::string Repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST(HostileConfig, TooLong) {
  EXPECT_EQ(ErrorOf(std::string((11 * kMaxConfigBytes) / 10, '#')),
            "f.yaml: longer than 1048576 bytes");
  EXPECT_EQ(ErrorOf(std::string(kMaxConfigBytes, '#')), "ok");
}

TEST(HostileConfig, NestedDeeply) {
  EXPECT_EQ(ErrorOf("a: " + Repeated("[", 15) + Repeated("]", 15)),
            "f.yaml:line 1: unknown key 'a'; known: model_repository, server, batching, execution, "
            "quantization, log, models");
  EXPECT_THAT(ErrorOf("a: " + Repeated("[", 16) + Repeated("]", 16)),
              testing::MatchesRegex("f.yaml:line 1: a(\\[0\\])*: nested deeper than 16 levels"));
  EXPECT_THAT(ErrorOf("a:\n  " + Repeated("[", 500'000)), testing::StartsWith("f.yaml:line 2: "));
  EXPECT_THAT(ErrorOf(Repeated("[", 500'000)), testing::StartsWith("f.yaml:line 1: "));
  EXPECT_THAT(ErrorOf(Repeated("{a: ", 200'000)), testing::StartsWith("f.yaml:line 1: "));
  EXPECT_THAT(ErrorOf(Repeated("- ", 500'000)), testing::HasSubstr("nested deeper than 16 levels"));
  EXPECT_THAT(ErrorOf(Repeated("? ", 500'000)), testing::HasSubstr("a key must be a single word"));
}

TEST(HostileConfig, AliasBomb) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    absl::StrAppend(&text, "a", i, ": &a", i, " [", Repeated(absl::StrCat("*a", i - 1, ", "), 9),
                    "*a", i - 1, "]\n");
  }
  EXPECT_EQ(ErrorOf(text), "f.yaml:line 1: a0: anchors and aliases are not supported");
}

TEST(HostileConfig, TooManyValues) {
  EXPECT_THAT(ErrorOf("models: [" + Repeated("1,", 30'000) + "]"),
              testing::HasSubstr("more than 20000 values"));
  std::string keys;
  for (int i = 0; i < 50'000; ++i) absl::StrAppend(&keys, "k", i, ": 1\n");
  EXPECT_THAT(ErrorOf(keys), testing::HasSubstr("more than 20000 values"));
}

TEST(HostileConfig, EveryPrefixOfAFileIsReadOrRefused) {
  const std::string text =
      "server: {grpc_port: 1, tls: {key: 'k', certificate: \"c\"}}\nmodels:\n- name: a\n"
      "  version_policy: {specific: [1, 2]}\nquantization:\n  layers:\n  - mode: fp32\n    match: "
      "'*'\n";
  ASSERT_EQ(ErrorOf(text), "ok");
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_THAT(ErrorOf(text.substr(0, size)),
                testing::AnyOf(testing::StrEq("ok"), testing::StartsWith("f.yaml:line ")));
  }
}

TEST(HostileConfig, LongWordsAreCutInMessages) {
  const std::string error = ErrorOf(std::string(500'000, 'k') + ": 1\n");
  EXPECT_LT(error.size(), 1000u);
  EXPECT_LT(ErrorOf("log: {level: " + std::string(500'000, 'k') + "}\n").size(), 1000u);
}

}  // namespace
}  // namespace octet::server
