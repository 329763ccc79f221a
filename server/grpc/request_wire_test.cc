#include "server/grpc/request_wire.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;

std::vector<Piece> Pieces(const std::string& bytes, size_t size) {
  std::vector<Piece> pieces;
  const Piece all = std::as_bytes(std::span(bytes));
  for (size_t at = 0; at < all.size(); at += size) {
    pieces.push_back(all.subspan(at, std::min(size, all.size() - at)));
    pieces.push_back({});  // transports may give empty slices
  }
  return pieces;
}

std::string Joined(const RawInput& input) {
  std::string joined;
  for (const Piece piece : input.pieces) {
    joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  EXPECT_EQ(joined.size(), input.size);
  return joined;
}

inference::ModelInferRequest Sample() {
  inference::ModelInferRequest request;
  request.set_model_name("digits");
  request.set_id("id-17");
  (*request.mutable_parameters())["timeout"].set_int64_param(1000);
  auto& input = *request.add_inputs();
  input.set_name("x");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(300);
  request.add_outputs()->set_name("y");
  request.add_raw_input_contents(std::string(1200, 'a'));
  request.add_raw_input_contents("");
  request.add_raw_input_contents(std::string(7, 'b'));
  return request;
}

TEST(RequestWireTest, SplitsHowEverTheBytesAreCut) {
  const inference::ModelInferRequest sample = Sample();
  inference::ModelInferRequest head = sample;
  head.clear_raw_input_contents();
  const std::string bytes = sample.SerializeAsString();
  for (const size_t size : {size_t{1}, size_t{3}, size_t{100}, bytes.size()}) {
    InferRequest request;
    ASSERT_TRUE(ParseInferRequest(Pieces(bytes, size), request).ok());
    EXPECT_EQ(request.head.SerializeAsString(), head.SerializeAsString());
    ASSERT_EQ(request.raw_inputs.size(), 3u);
    EXPECT_EQ(Joined(request.raw_inputs[0]), std::string(1200, 'a'));
    EXPECT_EQ(Joined(request.raw_inputs[1]), "");
    EXPECT_EQ(Joined(request.raw_inputs[2]), "bbbbbbb");
  }
}

TEST(RequestWireTest, FieldsMayComeInAnyOrderAndUnknownOnesAreIgnored) {
  inference::ModelInferRequest raw;
  raw.add_raw_input_contents("abcd");
  inference::ModelInferRequest rest;
  rest.set_model_name("digits");
  const std::string unknown_varint = {'\xf8', '\x07', '\x05'};  // field 127
  const std::string unknown_group = {'\xfb', '\x07', '\x3a', 1, 'z', '\xfc', '\x07'};
  const std::string bytes =
      raw.SerializeAsString() + unknown_varint + unknown_group + rest.SerializeAsString();
  InferRequest request;
  ASSERT_TRUE(ParseInferRequest(Pieces(bytes, 2), request).ok());
  EXPECT_EQ(request.head.model_name(), "digits");
  ASSERT_EQ(request.raw_inputs.size(), 1u) << "field 7 of a group is not ours";
  EXPECT_EQ(Joined(request.raw_inputs[0]), "abcd");
}

TEST(RequestWireTest, EmptyMessageIsARequestWithoutAnything) {
  InferRequest request;
  EXPECT_TRUE(ParseInferRequest({}, request).ok());
}

TEST(RequestWireTest, DamageIsInvalidArgument) {
  const std::string damaged[] = {
      "\x3a",                                                       // raw contents without a length
      std::string("\x3a\x05") + "abc",                              // shorter than it says
      std::string("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10),  // longer than any message
      std::string("\x00\x00", 2),                                   // field number 0
      "\x0f",                                                       // wire type 7
      "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",           // varint of eleven bytes
      "\x0a\x03\xff\xfe\xfd",                                       // a name that is not UTF-8
      "\xfb\x07",                                                   // a group that does not end
      "\xfc\x07",                                                   // a group that did not begin
      "\x2a\x02\x0a\x7f",                                           // damage inside an input
      "hello, is this http?",
  };
  for (const std::string& bytes : damaged) {
    InferRequest request;
    const absl::Status status = ParseInferRequest(Pieces(bytes, 4), request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    EXPECT_THAT(status.message(), HasSubstr("not a ModelInferRequest"));
  }
}

TEST(RequestWireTest, DeepGroupsAreRefused) {
  std::string bytes;
  for (int i = 0; i < 100'000; ++i) bytes += "\xfb\x07";
  InferRequest request;
  EXPECT_FALSE(ParseInferRequest(Pieces(bytes, 4096), request).ok());
}

TEST(RequestWireTest, SmallBytesMustNotBecomeLargeMemory) {
  std::string raw_inputs;
  std::string inputs;
  std::string strings;  // one input with very many empty strings
  for (int i = 0; i < 100'000; ++i) {
    raw_inputs += std::string("\x3a\x00", 2);
    inputs += std::string("\x2a\x00", 2);
    strings += std::string("\x42\x00", 2);
  }
  inference::ModelInferRequest with_strings;
  with_strings.add_inputs()->mutable_contents()->ParseFromString(strings);
  for (const std::string& bytes : {raw_inputs, inputs, with_strings.SerializeAsString()}) {
    InferRequest request;
    const absl::Status status = ParseInferRequest(Pieces(bytes, 8192), request);
    EXPECT_THAT(status.message(), HasSubstr("more than"));
  }
}

TEST(RequestWireTest, LargeTypedContentsAreNoBomb) {
  inference::ModelInferRequest request;
  auto& contents = *request.add_inputs()->mutable_contents();
  for (int i = 0; i < 300'000; ++i) contents.add_fp32_contents(1.0f);
  const std::string bytes = request.SerializeAsString();
  InferRequest parsed;
  ASSERT_TRUE(ParseInferRequest(Pieces(bytes, 8192), parsed).ok());
  EXPECT_EQ(parsed.head.inputs(0).contents().fp32_contents_size(), 300'000);
}

TEST(RequestWireTest, EveryPrefixAndEveryFlippedByteIsSurvived) {
  const std::string bytes = Sample().SerializeAsString();
  std::mt19937 random(1);
  for (size_t i = 0; i < bytes.size(); ++i) {
    InferRequest prefix;
    ParseInferRequest(Pieces(bytes.substr(0, i), 5), prefix).IgnoreError();
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(random());
    InferRequest request;
    ParseInferRequest(Pieces(flipped, 5), request).IgnoreError();
  }
}

}  // namespace
}  // namespace octet::server
