#include "runtime/token_lines.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/calibration_data.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TensorSpec Input(const std::string& name, int64_t length = kUnknownDim,
                 DataType type = DataType::kInt64) {
  return {.name = name, .dtype = type, .shape = {kUnknownDim, length}};
}

class TokenLinesTest : public ::testing::Test {
 protected:
  absl::StatusOr<CalibrationData> Read(const std::string& text, size_t most = 100) {
    folder_.Write("tokens.jsonl", text);
    return ReadCalibrationData(folder_.path().string(), inputs_, true, most);
  }

  std::vector<std::vector<int64_t>> Inputs(const std::string& text) {
    const auto data = Read(text, 1);
    EXPECT_TRUE(data.ok()) << data.status();
    std::vector<std::vector<int64_t>> result;
    if (!data.ok()) return result;
    for (const Tensor& tensor : data->samples.at(0)) {
      const auto values = tensor.As<int64_t>();
      result.emplace_back(values.begin(), values.end());
    }
    return result;
  }

  std::string ErrorOf(const std::string& text) {
    const auto data = Read(text);
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument) << data.status();
    EXPECT_THAT(data.status().message(), HasSubstr("tokens.jsonl line "));
    return std::string(data.status().message());
  }

  testing::TemporaryDirectory folder_;
  std::vector<TensorSpec> inputs_ = {Input("input_ids"), Input("attention_mask")};
};

TEST_F(TokenLinesTest, EachLineHasItsLength) {
  const auto data = Read(
      "{\"input_ids\": [101, 7592, 102], \"attention_mask\": [1, 1, 0], \"text\": \"hello\"}\r\n"
      "\n"
      "{\"attention_mask\": [1], \"input_ids\": [5]}");
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->samples.size(), 2u);
  EXPECT_EQ(data->samples[0][0].shape(), Shape({1, 3}));
  EXPECT_THAT(data->samples[0][0].As<int64_t>(), ElementsAre(101, 7592, 102));
  EXPECT_THAT(data->samples[0][1].As<int64_t>(), ElementsAre(1, 1, 0));
  EXPECT_THAT(data->samples[1][0].As<int64_t>(), ElementsAre(5));
  EXPECT_EQ(data->samples[1][1].shape(), Shape({1, 1}));
}

TEST_F(TokenLinesTest, MasksAndTypesMayBeLeftOut) {
  inputs_.push_back(Input("token_type_ids"));
  EXPECT_THAT(Inputs("{\"input_ids\": [7, 8]}"),
              ElementsAre(ElementsAre(7, 8), ElementsAre(1, 1), ElementsAre(0, 0)));
  inputs_ = {Input("ids"), Input("other")};
  EXPECT_THAT(ErrorOf("{\"ids\": [7, 8]}"), HasSubstr("line 1: has nothing for input other"));
}

TEST_F(TokenLinesTest, TypesOfIntegers) {
  inputs_ = {Input("ids", 2, DataType::kInt32)};
  const auto data = Read("{\"ids\": [7, -2147483647]}");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->samples[0][0].As<int32_t>(), ElementsAre(7, -2147483647));
  EXPECT_THAT(ErrorOf("{\"ids\": [7, 2147483648]}"), HasSubstr("integers up to 2147483647"));
  EXPECT_THAT(ErrorOf("{\"ids\": [7]}"), HasSubstr("ids has 1 integers, expected 2"));
}

// Only lines that are taken are parsed.
TEST_F(TokenLinesTest, TakesAnEvenChoice) {
  const auto data = Read("{\n{\"input_ids\": [1]}\nnothing\n{\"input_ids\": [3]}\n", 2);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->samples[1][0].As<int64_t>(), ElementsAre(3));
}

TEST_F(TokenLinesTest, WrongLines) {
  EXPECT_THAT(ErrorOf("\n{\"input_ids\": [1,}\n"), HasSubstr("line 2: no JSON object"));
  EXPECT_THAT(ErrorOf("[1, 2]"), HasSubstr("no JSON object"));
  for (const char* wrong : {"1", "[]", "[1.5]", "[\"a\"]", "[[1]]", "[null]", "[1e300]", "{}"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("{\"input_ids\": ", wrong, "}")),
                HasSubstr("input_ids: expected a list of one or more integers"))
        << wrong;
  }
  EXPECT_THAT(ErrorOf("{\"input_ids\": [1, 2], \"attention_mask\": [1]}"),
              HasSubstr("attention_mask has 1 integers, expected 2"));
  EXPECT_THAT(ErrorOf(std::string(5000, '[')), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf(std::string((1 << 20) + 1, 'x')), HasSubstr("expected at most 1048576"));
}

TEST_F(TokenLinesTest, OtherModelsPassThemOver) {
  inputs_ = {{.name = "x", .shape = {kUnknownDim, 3}}};
  EXPECT_EQ(Read("{\"x\": [1, 2, 3]}").status().code(), absl::StatusCode::kNotFound);
  const auto named =
      ReadCalibrationData((folder_.path() / "tokens.jsonl").string(), inputs_, true, 1);
  EXPECT_THAT(named.status().message(),
              AllOf(HasSubstr("tokens.jsonl"), HasSubstr("[batch, length] of INT32 or INT64")));
}

}  // namespace
}  // namespace octet::runtime
