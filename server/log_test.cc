#include "server/log.h"

#include <limits>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

// What one call of `write` puts into a log set up by `config`.
template <typename Write>
std::string Logged(const LogConfig& config, Write write) {
  std::ostringstream out;
  SetUpLogging(config, &out);
  write();
  SetUpLogging({});
  return out.str();
}

constexpr LogConfig kText{};
constexpr LogConfig kJson{.format = LogFormat::kJson};

TEST(Log, TextHasTimeLevelMessageAndFields) {
  EXPECT_THAT(
      Logged(
          kText,
          [] { LogInfo("model ready", {{"model", "digits"}, {"version", 1}, {"seconds", 0.5}}); }),
      MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z info    "
                   "model ready model=digits version=1 seconds=0.5\n"));
}

TEST(Log, TextQuotesValuesThatHaveSpacesAndKeepsOneLine) {
  EXPECT_THAT(Logged(kText, [] { LogError("a\nb \"c\"", {{"reason", "x \"y\"\nz"}}); }),
              EndsWith("error   a\\nb \"c\" reason=\"x \\\"y\\\"\\nz\"\n"));
  EXPECT_THAT(Logged(kText, [] { LogError("m", {{"reason", ""}}); }), EndsWith("m reason=\"\"\n"));
}

TEST(Log, JsonIsOneObjectPerLine) {
  EXPECT_THAT(Logged(kJson,
                     [] {
                       LogWarning("slow", {{"model", std::string("a")},
                                           {"rows", int64_t{8}},
                                           {"ready", true},
                                           {"sqnr_db", 20.5}});
                     }),
              MatchesRegex("\\{\"time\":\"[-0-9T:.]+Z\",\"level\":\"warning\",\"message\":\"slow\","
                           "\"model\":\"a\",\"rows\":8,\"ready\":true,\"sqnr_db\":20.5\\}\n"));
}

TEST(Log, JsonEscapesWhatAClientSent) {
  EXPECT_THAT(
      Logged(kJson, [] { LogInfo("m", {{"name", "q\" b\\ n\n t\t c\x01 \xFF \xC3\xA9"}}); }),
      HasSubstr(R"("name":"q\" b\\ n\n t\u0009 c\u0001 )"
                "\xEF\xBF\xBD \xC3\xA9\""));
}

TEST(Log, JsonHasNoNaN) {
  EXPECT_THAT(
      Logged(kJson, [] { LogInfo("m", {{"x", std::numeric_limits<double>::quiet_NaN()}}); }),
      HasSubstr("\"x\":null}"));
}

TEST(Log, BracesInMessagesAreNotFormats) {
  EXPECT_THAT(Logged(kText, [] { LogInfo("{} {0} %v"); }), EndsWith("{} {0} %v\n"));
}

TEST(Log, LevelHidesWhatIsLessSevere) {
  const LogConfig warning{.level = LogLevel::kWarning};
  EXPECT_THAT(Logged(warning, [] { LogDebug("m"); }), IsEmpty());
  EXPECT_THAT(Logged(warning, [] { LogInfo("m"); }), IsEmpty());
  EXPECT_THAT(Logged(warning, [] { LogWarning("m"); }), Not(IsEmpty()));
  EXPECT_THAT(Logged(kText, [] { LogDebug("m"); }), IsEmpty());
  EXPECT_THAT(Logged({.level = LogLevel::kDebug}, [] { LogDebug("m"); }), HasSubstr("debug"));
}

}  // namespace
}  // namespace octet::server
