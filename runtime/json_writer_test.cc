#include "runtime/json_writer.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cmath>

#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

TEST(JsonWriter, LooksLikeThis) {
  JsonWriter json;
  json.BeginObject();
  json.Set("text", "x");
  json.Set("yes", true);
  json.Set("whole", size_t{12});
  json.Set("third", 1.0 / 3);
  json.Set("tenth", 0.1f);
  json.Set("none", std::nan(""));
  json.SetNumbers("counts", std::span<const int64_t>(std::vector<int64_t>{1, -2}));
  json.BeginArray("rows");
  json.BeginObject();
  json.EndObject();
  json.EndArray();
  json.SetTexts("texts", {"a", "b"});
  json.EndObject();
  EXPECT_EQ(json.Finish(), R"({
  "text": "x",
  "yes": true,
  "whole": 12,
  "third": 0.3333333333333333,
  "tenth": 0.1,
  "none": null,
  "counts": [1, -2],
  "rows": [
    {}
  ],
  "texts": [
    "a",
    "b"
  ]
}
)");
}

// Read by another implementation.
std::string ReadBack(const std::string& text) {
  JsonWriter json;
  json.BeginObject();
  json.Set("key", text);
  json.EndObject();
  google::protobuf::Struct parsed;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json.Finish(), &parsed).ok()) << text;
  return parsed.fields().at("key").string_value();
}

TEST(JsonWriter, EveryCharacterComesBack) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  for (const std::string& text : {all, std::string("é€𝄞"), std::string("\xf4\x8f\xbf\xbf")}) {
    EXPECT_EQ(ReadBack(text), text);
  }
}

TEST(JsonWriter, WhatIsNoTextIsReplaced) {
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(ReadBack("a\xff"), "a" + mark);
  EXPECT_EQ(ReadBack("\xc0\x80"), mark + mark);                               // longer than needed
  EXPECT_EQ(ReadBack("\xed\xa0\x80"), mark + mark + mark);                    // a surrogate
  EXPECT_EQ(ReadBack("\xf4\x90\x80\x80x"), mark + mark + mark + mark + "x");  // beyond Unicode
  EXPECT_EQ(ReadBack("\xe2\x82"), mark + mark);                               // cut off
}

}  // namespace
}  // namespace octet::runtime
