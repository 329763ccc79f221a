#include "runtime/npy.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/npy_writer.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Npy;
using testing::NpyHeader;
using testing::NpyWithHeader;
using testing::WriteZip;

absl::StatusOr<Tensor> Parse(const std::string& file) {
  return ParseNpy(std::as_bytes(std::span(file.data(), file.size())));
}

absl::StatusCode CodeOf(const std::string& file) { return Parse(file).status().code(); }

TEST(ParseNpy, ReadsValues) {
  const auto array = Parse(Npy(Tensor::Of<float>({2, 2}, {1, 2, 3, 4.5f}), "<f4"));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape(), Shape({2, 2}));
  EXPECT_THAT(array->As<float>(), ElementsAre(1, 2, 3, 4.5f));
}

TEST(ParseNpy, ReadsScalarsAndEmptyArrays) {
  const auto scalar =
      Parse(NpyWithHeader(NpyHeader("<i8", "()"), std::string("\x05\0\0\0\0\0\0\0", 8)));
  ASSERT_TRUE(scalar.ok()) << scalar.status();
  EXPECT_EQ(scalar->shape(), Shape());
  EXPECT_THAT(scalar->As<int64_t>(), ElementsAre(5));
  const auto empty = Parse(NpyWithHeader(NpyHeader("<f4", "(0, 3)"), ""));
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->size(), 0);
}

TEST(ParseNpy, KeepsTypesOfTheBorder) {
  EXPECT_EQ(Parse(NpyWithHeader(NpyHeader("<f2", "(1,)"), "ab"))->dtype(), DataType::kFloat16);
  EXPECT_EQ(Parse(NpyWithHeader(NpyHeader("|b1", "(1,)"), "\x01"))->dtype(), DataType::kBool);
}

TEST(ParseNpy, ReadsVersionTwo) {
  std::string header = NpyHeader("|u1", "(2,)") + "\n";
  std::string file("\x93NUMPY\x02\x00", 8);
  file += static_cast<char>(header.size());
  file += std::string(3, '\0') + header + "\x07\x09";
  const auto array = Parse(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->As<uint8_t>(), ElementsAre(7, 9));
}

TEST(ParseNpy, EveryTruncationIsRefused) {
  const std::string whole = Npy(Tensor::Of<float>({3}, {1, 2, 3}), "<f4");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(CodeOf(whole.substr(0, size)), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(ParseNpy, HeadersThatLieAreRefused) {
  const auto with_shape = [](const std::string& shape) {
    return CodeOf(NpyWithHeader(NpyHeader("<f4", shape), "data"));
  };
  EXPECT_EQ(with_shape("(2,)"), absl::StatusCode::kInvalidArgument);  // more than is there
  EXPECT_EQ(with_shape("(-1,)"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with_shape("(1e3,)"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with_shape("(99999999999999999999,)"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with_shape("1"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with_shape("(1"), absl::StatusCode::kInvalidArgument);
  // Products that overflow 64 bits, and what is merely enormous.
  EXPECT_EQ(with_shape("(4294967296, 4294967296, 4)"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(with_shape("(1099511627776,)"), absl::StatusCode::kResourceExhausted);
}

TEST(ParseNpy, MissingFieldsAreNamed) {
  EXPECT_THAT(
      Parse(NpyWithHeader("{'fortran_order': False, 'shape': (), }", "")).status().message(),
      HasSubstr("descr"));
  EXPECT_THAT(Parse(NpyWithHeader("{'descr': '<f4', 'shape': (), }", "")).status().message(),
              HasSubstr("fortran_order"));
  EXPECT_THAT(
      Parse(NpyWithHeader("{'descr': '<f4', 'fortran_order': False, }", "")).status().message(),
      HasSubstr("shape"));
  EXPECT_EQ(CodeOf(NpyWithHeader("", "")), absl::StatusCode::kInvalidArgument);
}

TEST(ParseNpy, UnsupportedFormsAreNamed) {
  for (const char* descr : {">f4", "|O", "<c8", "<U3", "<M8[ns]", ""}) {
    EXPECT_EQ(CodeOf(NpyWithHeader(NpyHeader(descr, "(1,)"), "datadatadata")),
              absl::StatusCode::kUnimplemented)
        << descr;
  }
  EXPECT_EQ(CodeOf(NpyWithHeader(NpyHeader("<f4", "(1,)", "True"), "data")),
            absl::StatusCode::kUnimplemented);
}

TEST(ParseNpy, AnHeaderLengthBeyondTheFileIsRefused) {
  std::string file = Npy(Tensor::Of<float>({1}, {1}), "<f4");
  file[8] = '\xFF';
  file[9] = '\xFF';
  EXPECT_EQ(CodeOf(file), absl::StatusCode::kInvalidArgument);
  file[6] = 2;  // now four bytes of length
  EXPECT_EQ(CodeOf(file), absl::StatusCode::kInvalidArgument);
}

class Npz : public ::testing::Test {
 protected:
  std::string Path() const { return (folder_.path() / "a.npz").string(); }

  absl::StatusOr<std::vector<std::pair<std::string, Tensor>>> Read(
      const std::vector<std::pair<std::string, std::string>>& files) {
    EXPECT_TRUE(WriteZip(Path(), files));
    return ReadNpz(Path());
  }

  std::string Content() const {
    std::ifstream stream(Path(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(Npz, NamesArraysWithoutTheirSuffix) {
  const auto arrays = Read({{"x.npy", Npy(Tensor::Of<float>({1}, {1}), "<f4")},
                            {"y.npy", Npy(Tensor::Of<int64_t>({2}, {3, 4}), "<i8")}});
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  ASSERT_EQ(arrays->size(), 2u);
  EXPECT_EQ((*arrays)[0].first, "x");
  EXPECT_EQ((*arrays)[1].first, "y");
  EXPECT_THAT((*arrays)[1].second.As<int64_t>(), ElementsAre(3, 4));
}

TEST_F(Npz, InflatesDeflatedArrays) {
  const Tensor zeroes = *Tensor::Allocate(DataType::kFloat32, {300000});
  const auto arrays = Read({{"x.npy", Npy(zeroes, "<f4")}});
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  EXPECT_LT(Content().size(), 10000u);
  EXPECT_EQ((*arrays)[0].second.size(), 300000);
}

TEST_F(Npz, WhatIsNoArrayIsRefusedByName) {
  const auto arrays = Read({{"readme.txt", "not an array at all"}});
  EXPECT_EQ(arrays.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(arrays.status().message(), HasSubstr("readme.txt"));
}

TEST_F(Npz, WhatIsNoArchiveIsRefused) {
  folder_.Write("a.npz", "PK but not really");
  EXPECT_EQ(ReadNpz(Path()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadNpz((folder_.path() / "missing.npz").string()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(Npz, EveryTruncationIsRefused) {
  ASSERT_TRUE(Read({{"x.npy", Npy(Tensor::Of<float>({4}, {1, 2, 3, 4}), "<f4")}}).ok());
  const std::string whole = Content();
  for (size_t size = 0; size < whole.size(); size += 3) {
    folder_.Write("a.npz", whole.substr(0, size));
    EXPECT_FALSE(ReadNpz(Path()).ok()) << size;
  }
}

// An archive whose directory says that an entry unpacks to other sizes than it does.
TEST_F(Npz, SizesThatLieAreRefused) {
  ASSERT_TRUE(Read({{"x.npy", Npy(*Tensor::Allocate(DataType::kFloat32, {5000}), "<f4")}}).ok());
  const std::string whole = Content();
  const size_t directory = whole.find("PK\x01\x02");
  ASSERT_NE(directory, std::string::npos);
  const size_t size_field = directory + 24;
  for (const uint32_t claimed : {0u, 100u, 0x7FFFFFFFu, 0xFFFFFFFEu}) {
    std::string lie = whole;
    for (int byte = 0; byte < 4; ++byte) {
      lie[size_field + byte] = static_cast<char>(claimed >> (8 * byte));
    }
    folder_.Write("a.npz", lie);
    EXPECT_FALSE(ReadNpz(Path()).ok()) << claimed;
  }
}

// Each entry is within the limit, all together are not: a bomb.
TEST_F(Npz, EntriesTogetherMustFitTheLimit) {
  const std::string small = Npy(Tensor::Of<float>({1}, {1}), "<f4");
  std::vector<std::pair<std::string, std::string>> files;
  files.reserve(3);
  for (int i = 0; i < 3; ++i) files.emplace_back("x" + std::to_string(i) + ".npy", small);
  ASSERT_TRUE(Read(files).ok());
  std::string lie = Content();
  for (size_t at = lie.find("PK\x01\x02"); at != std::string::npos;
       at = lie.find("PK\x01\x02", at + 1)) {
    const uint32_t claimed = 0xF0000000u;
    for (int byte = 0; byte < 4; ++byte) {
      lie[at + 24 + byte] = static_cast<char>(claimed >> (8 * byte));
    }
  }
  folder_.Write("a.npz", lie);
  EXPECT_EQ(ReadNpz(Path()).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace octet::runtime
