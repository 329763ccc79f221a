#include "base/read_record.h"

#include <cstring>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet {
namespace {

std::span<const std::byte> Bytes(absl::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(ReadRecord, TheSameIsAccepted) {
  ReadRecord record;
  ASSERT_TRUE(record.Add("a", Bytes("one")).ok());
  ASSERT_TRUE(record.Add("b", Bytes("")).ok());
  EXPECT_TRUE(record.Finish().ok());
  for (int round = 0; round < 2; ++round) {
    ReadRecord again = record.Rereading();
    EXPECT_TRUE(again.Add("a", Bytes("one")).ok());
    EXPECT_TRUE(again.Add("b", Bytes("")).ok());
    EXPECT_TRUE(again.Finish().ok());
  }
}

TEST(ReadRecord, WhatDiffersIsNamed) {
  ReadRecord record;
  ASSERT_TRUE(record.Add("a", Bytes("one")).ok());
  ASSERT_TRUE(record.Add("b", Bytes("two")).ok());
  ReadRecord changed = record.Rereading();
  ASSERT_TRUE(changed.Add("a", Bytes("one")).ok());
  EXPECT_EQ(changed.Add("b", Bytes("twO")),
            absl::FailedPreconditionError("b: has changed since it was loaded"));
  ReadRecord less = record.Rereading();
  ASSERT_TRUE(less.Add("a", Bytes("one")).ok());
  EXPECT_EQ(less.Finish(), absl::FailedPreconditionError("b: has changed since it was loaded"));
  ReadRecord more = less;
  ASSERT_TRUE(more.Add("b", Bytes("two")).ok());
  EXPECT_EQ(more.Add("c", Bytes("")),
            absl::FailedPreconditionError("c: has changed since it was loaded"));
}

}  // namespace
}  // namespace octet
