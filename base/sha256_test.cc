#include "base/sha256.h"

#include "gtest/gtest.h"

namespace octet {
namespace {

std::string HexOf(std::initializer_list<absl::string_view> parts) {
  Sha256 sha256;
  for (const absl::string_view part : parts) sha256.Add(part);
  return Hex(sha256.Finish());
}

// The examples of FIPS 180-4.
TEST(Sha256, IsThatOfTheStandard) {
  EXPECT_EQ(HexOf({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf({"abc"}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf({"a", "", "bc"}), HexOf({"abc"}));
}

TEST(Sha256, PartsDoNotRunTogether) {
  Sha256 a, b;
  a.AddPart(absl::string_view("ab"));
  a.AddPart(absl::string_view("c"));
  b.AddPart(absl::string_view("a"));
  b.AddPart(absl::string_view("bc"));
  EXPECT_NE(a.Finish(), b.Finish());
}

}  // namespace
}  // namespace octet
