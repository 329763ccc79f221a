#include "server/grpc/request_decoder.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/infer_requests.h"

namespace octet::server {
namespace {

using inference::ModelInferRequest;
using octet::testing::AddInput;
using octet::testing::RawBytes;
using runtime::TensorSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<TensorSpec> kInputs = {{"x", DataType::kFloat32, {kUnknownDim, 4}},
                                         {"ids", DataType::kInt64, {kUnknownDim, kUnknownDim}}};
const std::vector<TensorSpec> kOutputs = {{"y", DataType::kFloat32, {kUnknownDim, 10}},
                                          {"z", DataType::kInt64, {kUnknownDim, 1}}};

ModelInferRequest Good() {
  ModelInferRequest request;
  AddInput(request, "x", "FP32", {2, 4});
  AddInput(request, "ids", "INT64", {2, 3});
  request.add_raw_input_contents(RawBytes(std::vector<float>(8, 1.5f)));
  request.add_raw_input_contents(RawBytes(std::vector<int64_t>(6, 7)));
  return request;
}

ModelInferRequest GoodTyped() {
  ModelInferRequest request;
  auto& x = *AddInput(request, "x", "FP32", {2, 4}).mutable_contents();
  for (int i = 0; i < 8; ++i) x.add_fp32_contents(1.5f);
  auto& ids = *AddInput(request, "ids", "INT64", {2, 3}).mutable_contents();
  for (int i = 0; i < 6; ++i) ids.add_int64_contents(7);
  return request;
}

// A request and what is decoded of it, which borrows from the request.
struct Decoding {
  explicit Decoding(const ModelInferRequest& message, std::vector<TensorSpec> inputs = kInputs,
                    int64_t max_batch_size = 8)
      : bytes(message.SerializeAsString()), specs(std::move(inputs)) {
    const Piece piece = std::as_bytes(std::span(bytes));
    EXPECT_TRUE(ParseInferRequest(std::span(&piece, 1), request).ok());
    result = DecodeInferRequest(
        request, {.inputs = specs, .outputs = kOutputs, .max_batch_size = max_batch_size});
  }
  std::string Payload(int input) const {
    std::string payload;
    for (const Piece piece : result->input.inputs[input].pieces) {
      payload.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    return payload;
  }

  std::string bytes;
  std::vector<TensorSpec> specs;
  InferRequest request;
  absl::StatusOr<DecodedRequest> result = absl::UnknownError("");
};

TEST(RequestDecoderTest, RawAndTypedMeanTheSame) {
  for (const ModelInferRequest& request : {Good(), GoodTyped()}) {
    const Decoding decoding(request);
    ASSERT_TRUE(decoding.result.ok()) << decoding.result.status();
    EXPECT_EQ(decoding.result->input.rows, 2);
    EXPECT_EQ(decoding.result->input.inputs[0].shape, Shape({2, 4}));
    EXPECT_EQ(decoding.Payload(0), RawBytes(std::vector<float>(8, 1.5f)));
    EXPECT_EQ(decoding.Payload(1), RawBytes(std::vector<int64_t>(6, 7)));
    EXPECT_THAT(decoding.result->outputs, ElementsAre(0, 1));
  }
}

TEST(RequestDecoderTest, InputsAreTakenInTheModelsOrder) {
  ModelInferRequest request = Good();
  request.mutable_inputs()->SwapElements(0, 1);
  request.mutable_raw_input_contents()->SwapElements(0, 1);
  const Decoding decoding(request);
  ASSERT_TRUE(decoding.result.ok()) << decoding.result.status();
  EXPECT_EQ(decoding.result->input.inputs[1].shape, Shape({2, 3}));
  EXPECT_EQ(decoding.Payload(0), RawBytes(std::vector<float>(8, 1.5f)));
}

TEST(RequestDecoderTest, ParametersThatMeanSomething) {
  ModelInferRequest request = Good();
  auto& parameters = *request.mutable_parameters();
  parameters["timeout"].set_int64_param(1500);
  parameters["priority"].set_uint64_param(1);
  parameters["sequence_id"].set_string_param("abc");
  parameters["binary_data_output"].set_bool_param(true);
  parameters["unknown"].set_double_param(0.5);
  auto& y = *request.add_outputs();
  y.set_name("z");
  (*y.mutable_parameters())["classification"].set_int64_param(3);
  request.add_outputs()->set_name("y");
  const Decoding decoding(request);
  ASSERT_TRUE(decoding.result.ok()) << decoding.result.status();
  EXPECT_EQ(decoding.result->timeout, absl::Microseconds(1500));
  EXPECT_TRUE(decoding.result->urgent);
  EXPECT_THAT(decoding.result->outputs, ElementsAre(1, 0));
  EXPECT_THAT(decoding.result->classes, ElementsAre(3, 0));
}

TEST(RequestDecoderTest, EveryDataTypeRaw) {
  for (const DataType type :
       {DataType::kFloat32, DataType::kFloat64, DataType::kFloat16, DataType::kBFloat16,
        DataType::kInt8, DataType::kUint8, DataType::kInt16, DataType::kUint16, DataType::kInt32,
        DataType::kUint32, DataType::kInt64, DataType::kUint64, DataType::kBool}) {
    ModelInferRequest request;
    AddInput(request, "x", std::string(Name(type)), {1, 3});
    request.add_raw_input_contents(std::string(3 * ByteSize(type), '\1'));
    EXPECT_TRUE(Decoding(request, {{"x", type, {kUnknownDim, 3}}}).result.ok()) << Name(type);
  }
}

TEST(RequestDecoderTest, NarrowTypedContents) {
  ModelInferRequest request;
  auto& contents = *AddInput(request, "x", "INT8", {1, 3}).mutable_contents();
  for (const int value : {-128, 0, 127}) contents.add_int_contents(value);
  const Decoding decoding(request, {{"x", DataType::kInt8, {kUnknownDim, 3}}});
  ASSERT_TRUE(decoding.result.ok()) << decoding.result.status();
  EXPECT_EQ(decoding.Payload(0), RawBytes(std::vector<int8_t>{-128, 0, 127}));
  contents.set_int_contents(1, 128);
  EXPECT_THAT(
      Decoding(request, {{"x", DataType::kInt8, {kUnknownDim, 3}}}).result.status().message(),
      HasSubstr("128 in int_contents is out of the range of INT8"));
}

struct BadCase {
  const char* name;
  std::function<void(ModelInferRequest&)> damage;
  const char* message;
  bool typed = false;
};

class BadRequestTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadRequestTest, IsInvalidArgument) {
  ModelInferRequest request = GetParam().typed ? GoodTyped() : Good();
  GetParam().damage(request);
  const absl::Status status = Decoding(request).result.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(status.message(), HasSubstr(GetParam().message));
  EXPECT_LT(status.message().size(), 1000u);
}

using Request = ModelInferRequest;

void SetShape(Request& request, int input, const std::vector<int64_t>& shape) {
  auto& dims = *request.mutable_inputs(input)->mutable_shape();
  dims.Clear();
  for (const int64_t dim : shape) dims.Add(dim);
}

const BadCase kBadCases[] = {
    {"MissingInput", [](Request& r) { r.mutable_inputs()->RemoveLast(); },
     "input \"ids\" is missing: expected 2 inputs, received 1"},
    {"NoInputs", [](Request& r) { r.clear_inputs(); }, "input \"x\" is missing"},
    {"UnknownInput", [](Request& r) { r.mutable_inputs(0)->set_name("w"); },
     "unexpected input \"w\", expected \"x\", \"ids\""},
    {"ExtraInput", [](Request& r) { AddInput(r, "w", "FP32", {2, 4}); }, "unexpected input"},
    {"LongHostileName",
     [](Request& r) { r.mutable_inputs(0)->set_name(std::string(100'000, 'a') + "\n"); },
     "aaa...\""},
    {"DuplicateInput", [](Request& r) { r.mutable_inputs(1)->set_name("x"); },
     "input \"x\" already exists"},
    {"WrongDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype("FP64"); },
     "input \"x\": expected datatype FP32, received \"FP64\""},
    {"UnknownDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype("FLOAT"); },
     "received \"FLOAT\""},
    {"LowerCaseDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype("fp32"); },
     "received \"fp32\""},
    {"EmptyDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype(""); }, "received \"\""},
    {"Bytes", [](Request& r) { r.mutable_inputs(0)->set_datatype("BYTES"); }, "received \"BYTES\""},
    {"NoShape", [](Request& r) { SetShape(r, 0, {}); }, "expected shape [-1,4], received []"},
    {"LowRank", [](Request& r) { SetShape(r, 0, {8}); }, "expected shape [-1,4], received [8]"},
    {"HighRank", [](Request& r) { SetShape(r, 0, {2, 4, 1}); }, "received [2,4,1]"},
    {"HugeRank", [](Request& r) { SetShape(r, 0, std::vector<int64_t>(50'000, 1)); }, ",...]"},
    {"WrongDimension", [](Request& r) { SetShape(r, 0, {2, 5}); }, "received [2,5]"},
    {"NegativeDimension", [](Request& r) { SetShape(r, 1, {2, -3}); }, "received [2,-3]"},
    {"ZeroDimension", [](Request& r) { SetShape(r, 1, {2, 0}); }, "received [2,0]"},
    {"Overflow", [](Request& r) { SetShape(r, 1, {2, int64_t{1} << 62}); }, "larger than"},
    {"BatchZero", [](Request& r) { SetShape(r, 0, {0, 4}); }, "batch size must be from 1 to 8"},
    {"BatchNegative", [](Request& r) { SetShape(r, 0, {-1, 4}); }, "received -1"},
    {"BatchAboveMaximum", [](Request& r) { SetShape(r, 0, {9, 4}); },
     "batch size must be from 1 to 8 (max_batch_size), received 9"},
    {"BatchesDiffer", [](Request& r) { SetShape(r, 1, {3, 2}); },
     "the same for all inputs: \"x\" has 2, \"ids\" has 3"},
    {"RawTooShort", [](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); },
     "expected 32 bytes for FP32 [2,4], received 31"},
    {"RawTooLong", [](Request& r) { r.mutable_raw_input_contents(0)->push_back(0); },
     "received 33"},
    {"RawEmpty", [](Request& r) { r.mutable_raw_input_contents(0)->clear(); }, "received 0"},
    {"TooFewRaw", [](Request& r) { r.mutable_raw_input_contents()->RemoveLast(); },
     "one entry for each of 2 inputs, received 1"},
    {"TooManyRaw", [](Request& r) { r.add_raw_input_contents("x"); }, "received 3"},
    {"RawAndTyped",
     [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1); },
     "contents must be empty"},
    {"Neither", [](Request& r) { r.clear_raw_input_contents(); }, "received neither"},
    {"WrongTypedField",
     [](Request& r) {
       r.mutable_inputs(0)->mutable_contents()->Clear();
       r.mutable_inputs(0)->mutable_contents()->add_fp64_contents(1);
     },
     "expected elements of FP32 in fp32_contents only", true},
    {"SecondTypedField",
     [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_bytes_contents("x"); },
     "in fp32_contents only", true},
    {"TooFewElements",
     [](Request& r) {
       r.mutable_inputs(0)->mutable_contents()->mutable_fp32_contents()->RemoveLast();
     },
     "expected 8 elements in fp32_contents, received 7", true},
    {"TooManyElements",
     [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(0); },
     "received 9", true},
    {"UnknownOutput", [](Request& r) { r.add_outputs()->set_name("w"); },
     "unexpected output \"w\", expected \"y\", \"z\""},
    {"OutputTwice",
     [](Request& r) {
       r.add_outputs()->set_name("y");
       r.add_outputs()->set_name("y");
     },
     "requested twice"},
    {"ClassificationZero",
     [](Request& r) {
       auto& output = *r.add_outputs();
       output.set_name("y");
       (*output.mutable_parameters())["classification"].set_int64_param(0);
     },
     "must be at least 1, received 0"},
    {"ClassificationNegative",
     [](Request& r) {
       auto& output = *r.add_outputs();
       output.set_name("y");
       (*output.mutable_parameters())["classification"].set_int64_param(-3);
     },
     "received -3"},
    {"ClassificationOfWrongKind",
     [](Request& r) {
       auto& output = *r.add_outputs();
       output.set_name("y");
       (*output.mutable_parameters())["classification"].set_string_param("3");
     },
     "received string"},
    {"TimeoutOfWrongKind",
     [](Request& r) { (*r.mutable_parameters())["timeout"].set_string_param("1s"); },
     "parameter \"timeout\": expected int64, received string"},
    {"NegativeTimeout",
     [](Request& r) { (*r.mutable_parameters())["timeout"].set_int64_param(-1); }, "received -1"},
    {"PriorityOfWrongKind",
     [](Request& r) { (*r.mutable_parameters())["priority"].set_bool_param(true); },
     "parameter \"priority\": expected an integer, received bool"},
    {"SequenceStartOfWrongKind",
     [](Request& r) { (*r.mutable_parameters())["sequence_start"].set_int64_param(1); },
     "expected bool, received int64"},
    {"SharedMemoryInput",
     [](Request& r) {
       (*r.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("a");
     },
     "shared memory is not supported"},
    {"SharedMemoryOutput",
     [](Request& r) {
       auto& output = *r.add_outputs();
       output.set_name("y");
       (*output.mutable_parameters())["shared_memory_region"].set_string_param("a");
     },
     "shared memory is not supported"},
};

INSTANTIATE_TEST_SUITE_P(All, BadRequestTest, ::testing::ValuesIn(kBadCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RequestDecoderTest, BoolBytesMustBeZeroOrOne) {
  ModelInferRequest request;
  AddInput(request, "x", "BOOL", {1, 2});
  request.add_raw_input_contents(std::string("\x01\x02", 2));
  EXPECT_THAT(
      Decoding(request, {{"x", DataType::kBool, {kUnknownDim, 2}}}).result.status().message(),
      HasSubstr("0 or 1"));
}

TEST(RequestDecoderTest, HalfPrecisionHasNoTypedContents) {
  ModelInferRequest request;
  AddInput(request, "x", "FP16", {1, 1}).mutable_contents()->add_fp32_contents(1);
  EXPECT_THAT(
      Decoding(request, {{"x", DataType::kFloat16, {kUnknownDim, 1}}}).result.status().message(),
      HasSubstr("FP16 has no typed contents"));
}

TEST(RequestDecoderTest, WithoutBatchDimensionTheShapeIsTheModels) {
  ModelInferRequest request;
  AddInput(request, "x", "FP32", {3, 2});
  request.add_raw_input_contents(std::string(24, '\0'));
  const Decoding good(request, {{"x", DataType::kFloat32, {3, 2}}}, 0);
  ASSERT_TRUE(good.result.ok()) << good.result.status();
  EXPECT_EQ(good.result->input.rows, 1);
  EXPECT_FALSE(Decoding(request, {{"x", DataType::kFloat32, {4, 2}}}, 0).result.ok());
}

}  // namespace
}  // namespace octet::server
