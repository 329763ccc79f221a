#include "server/config/spelling.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/config/utf8.h"

namespace octet::server {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsAndSubstitutions) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("flaw", "lawn"), 2u);
}

TEST(Suggestion, NamesTheNearestWord) {
  const std::vector<std::string> known = {"grpc_port", "http_port", "address"};
  EXPECT_EQ(Suggestion("grcp_port", known), "; did you mean 'grpc_port'?");
  EXPECT_EQ(Suggestion("adress", known), "; did you mean 'address'?");
}

TEST(Suggestion, ListsAllWordsWhenNoneIsNear) {
  const std::vector<std::string> known = {"level", "format"};
  EXPECT_EQ(Suggestion("zzzzzzzz", known), "; known: level, format");
  EXPECT_EQ(Suggestion(std::string(100'000, 'l'), known), "; known: level, format");
}

TEST(Quoted, IsOneShortLineOfUtf8) {
  EXPECT_EQ(Quoted("a"), "'a'");
  EXPECT_EQ(Quoted("a\nb"), "'a\\nb'");
  EXPECT_EQ(Quoted("\xC3\xA9"), "'\xC3\xA9'");
  EXPECT_EQ(Quoted(std::string(1000, 'x')), "'" + std::string(60, 'x') + "...'");
}

TEST(Utf8CharacterSize, FollowsRfc3629) {
  EXPECT_EQ(Utf8CharacterSize(""), 0u);
  EXPECT_EQ(Utf8CharacterSize("a"), 1u);
  EXPECT_EQ(Utf8CharacterSize("\xC3\xA9"), 2u);
  EXPECT_EQ(Utf8CharacterSize("\xE2\x82\xAC"), 3u);
  EXPECT_EQ(Utf8CharacterSize("\xF0\x9F\x98\x80"), 4u);
  EXPECT_EQ(Utf8CharacterSize("\x80"), 0u) << "continuation first";
  EXPECT_EQ(Utf8CharacterSize("\xC0\xAF"), 0u) << "overlong";
  EXPECT_EQ(Utf8CharacterSize("\xE0\x80\xAF"), 0u) << "overlong";
  EXPECT_EQ(Utf8CharacterSize("\xED\xA0\x80"), 0u) << "surrogate";
  EXPECT_EQ(Utf8CharacterSize("\xF4\x90\x80\x80"), 0u) << "above U+10FFFF";
  EXPECT_EQ(Utf8CharacterSize("\xE2\x82"), 0u) << "cut off";
  EXPECT_EQ(Utf8CharacterSize("\xC3("), 0u) << "no continuation";
}

}  // namespace
}  // namespace octet::server
