#include "base/sha256.h"

#include <string>

#include "base/file.h"
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

// Whole pieces, and a rest.
TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const std::string path = testing::TempDir() + "octet_sha256_test";
  for (const size_t size : {size_t{0}, size_t{8} << 20, (size_t{9} << 20) + 1}) {
    std::string content(size, 'x');
    if (size > 0) content[size / 2] = content[size - 1] = 'y';
    ASSERT_TRUE(WriteFile(path, content).ok());
    const auto file = MappedFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    Sha256 of_file, of_text, part_of_file, part_of_text;
    of_file.Add(*file);
    of_text.Add(absl::string_view(content));
    EXPECT_EQ(of_file.Finish(), of_text.Finish());
    part_of_file.AddPart(*file);
    part_of_text.AddPart(absl::string_view(content));
    EXPECT_EQ(part_of_file.Finish(), part_of_text.Finish());
  }
}

}  // namespace
}  // namespace octet
