// What ONNX's cases do not show of the operators that move elements: hostile indices and lists,
// empty tensors, other element types, and quantized values.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/single_node.h"

namespace octet::kernels {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Operand;
using testing::SingleNode;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

Operand Value(Tensor tensor) { return {.tensor = std::move(tensor)}; }
Operand Constant(Tensor tensor) { return {.tensor = std::move(tensor), .constant = true}; }
Operand List(std::vector<int64_t> values) {
  return Constant(Tensor::Of<int64_t>({static_cast<int64_t>(values.size())}, values));
}
Operand Zeros(Shape shape, DataType type = DataType::kFloat32) {
  return Value(*Tensor::Allocate(type, std::move(shape)));
}

SingleNode Node(std::string op, std::vector<std::optional<Operand>> inputs,
                absl::flat_hash_map<std::string, graph::Attribute> attributes = {}) {
  SingleNode node{
      .op = std::move(op), .inputs = std::move(inputs), .attributes = std::move(attributes)};
  node.output.dtype = node.inputs[0]->tensor.dtype();
  return node;
}

template <typename T>
std::vector<T> Elements(const SingleNode& node) {
  const auto result = testing::RunSingle(node);
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return {};
  const auto values = result->As<T>();
  return {values.begin(), values.end()};
}

Shape ShapeOf(const SingleNode& node) {
  const auto result = testing::RunSingle(node);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->shape() : Shape{-1};
}

void ExpectInvalid(const SingleNode& node) {
  const absl::Status status = testing::RunSingle(node).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << node.op << ": " << status;
}

TEST(Gather, RefusesIndicesOutOfRange) {
  const Operand table = Value(Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6}));
  for (const int64_t index : {int64_t{3}, int64_t{-4}, kMin, kMax}) {
    const auto status =
        testing::RunSingle(Node("Gather", {table, Value(Tensor::Of<int64_t>({1}, {index}))}))
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("axis of size 3"));
    ExpectInvalid(Node("GatherElements", {table, Value(Tensor::Of<int64_t>({1, 1}, {index}))}));
    ExpectInvalid(Node("GatherND", {table, Value(Tensor::Of<int64_t>({1, 2}, {0, index}))}));
    const Operand one = Value(Tensor::Of<float>({1, 1}, {9}));
    ExpectInvalid(
        Node("ScatterElements", {table, Value(Tensor::Of<int64_t>({1, 1}, {index})), one}));
    const Operand flat = Value(Tensor::Of<float>({1}, {9}));
    ExpectInvalid(Node("ScatterND", {table, Value(Tensor::Of<int64_t>({1, 2}, {index, 0})), flat}));
  }
  ExpectInvalid(Node("Gather", {Zeros({0, 2}), Value(Tensor::Of<int32_t>({1}, {0}))}));
}

TEST(Gather, TakesEveryElementType) {
  const Operand indices = Value(Tensor::Of<int32_t>({3}, {1, -2, 1}));
  EXPECT_THAT(Elements<int8_t>(Node("Gather", {Value(Tensor::Of<int8_t>({2}, {-5, 7})), indices})),
              ElementsAre(7, -5, 7));
  EXPECT_THAT(
      Elements<int64_t>(Node("Gather", {Value(Tensor::Of<int64_t>({2}, {kMin, kMax})), indices})),
      ElementsAre(kMax, kMin, kMax));
  EXPECT_THAT(
      Elements<bool>(Node("Gather", {Value(Tensor::Of<bool>({2}, {true, false})), indices})),
      ElementsAre(false, true, false));
}

TEST(Gather, MayGiveNothing) {
  EXPECT_EQ(ShapeOf(Node("Gather", {Zeros({3, 2}), Zeros({0}, DataType::kInt64)})), (Shape{0, 2}));
  EXPECT_EQ(ShapeOf(Node("GatherND", {Zeros({0, 2}), Zeros({0, 1}, DataType::kInt64)})),
            (Shape{0, 2}));
}

TEST(Gather, RefusesShapesThatDoNotFit) {
  ExpectInvalid(Node("Gather", {Zeros({3}), Zeros({1})}));  // indices that are floats
  ExpectInvalid(Node("Gather", {Zeros({3}), Zeros({1}, DataType::kInt64)}, {{"axis", kMin}}));
  ExpectInvalid(Node("GatherElements", {Zeros({3, 2}), Zeros({1, 3}, DataType::kInt64)}));
  ExpectInvalid(Node("GatherND", {Zeros({3, 2}), Zeros({1, 3}, DataType::kInt64)}));
  ExpectInvalid(
      Node("GatherND", {Zeros({3, 2}), Zeros({3, 1}, DataType::kInt64)}, {{"batch_dims", kMax}}));
  ExpectInvalid(Node("ScatterND", {Zeros({3, 2}), Zeros({1, 1}, DataType::kInt64), Zeros({1, 3})}));
  ExpectInvalid(
      Node("ScatterElements", {Zeros({3, 2}), Zeros({1, 2}, DataType::kInt64), Zeros({2, 2})}));
}

TEST(Scatter, ReducesIntegersAndBooleans) {
  const Operand indices = Value(Tensor::Of<int64_t>({3}, {0, 0, -1}));
  const auto reduced = [&](const std::string& reduction) {
    return Elements<int8_t>(Node("ScatterElements",
                                 {Value(Tensor::Of<int8_t>({2}, {100, -3})), indices,
                                  Value(Tensor::Of<int8_t>({3}, {50, 2, 4}))},
                                 {{"reduction", reduction}}));
  };
  EXPECT_THAT(reduced("add"), ElementsAre(-104, 1));  // 152 wraps around
  EXPECT_THAT(reduced("mul"), ElementsAre(16, -12));  // 10000 mod 256
  EXPECT_THAT(reduced("max"), ElementsAre(100, 4));
  EXPECT_THAT(reduced("min"), ElementsAre(2, -3));
  EXPECT_THAT(reduced("none"), ElementsAre(2, 4));
  EXPECT_THAT(Elements<bool>(Node("ScatterElements",
                                  {Value(Tensor::Of<bool>({2}, {false, true})), indices,
                                   Value(Tensor::Of<bool>({3}, {true, true, false}))},
                                  {{"reduction", std::string("add")}})),
              ElementsAre(true, true));
}

TEST(Slice, AcceptsExtremeBounds) {
  const Operand x = Value(Tensor::Of<int64_t>({5}, {0, 1, 2, 3, 4}));
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return Elements<int64_t>(
        Node("Slice", {x, List({start}), List({end}), List({0}), List({step})}));
  };
  EXPECT_THAT(slice(kMin, kMax, 1), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(slice(kMax, kMin, -1), ElementsAre(4, 3, 2, 1, 0));
  EXPECT_THAT(slice(kMax, kMin, kMin), ElementsAre(4));
  EXPECT_THAT(slice(0, kMax, kMax), ElementsAre(0));
  EXPECT_THAT(slice(-2, 1, -2), ElementsAre(3));
  EXPECT_THAT(slice(3, 3, 1), ElementsAre());
  EXPECT_THAT(slice(kMin, kMax, -1), ElementsAre());
  EXPECT_EQ(ShapeOf(Node("Slice", {Zeros({0, 2}), List({0}), List({1}), List({0}), List({-1})})),
            (Shape{0, 2}));
  ExpectInvalid(Node("Slice", {x, List({0}), List({1}), List({0}), List({0})}));
  ExpectInvalid(Node("Slice", {x, List({0}), List({1}), List({1})}));
  ExpectInvalid(Node("Slice", {x, List({0, 0}), List({1, 1}), List({0, -1})}));
}

TEST(Shapes, OverflowIsRefused) {
  EXPECT_FALSE(testing::RunSingle(Node("Tile", {Zeros({8}), List({kMax / 2})})).ok());
  EXPECT_FALSE(testing::RunSingle(Node("Expand", {Zeros({1}), List({kMax, kMax})})).ok());
  EXPECT_FALSE(testing::RunSingle(Node("Pad", {Zeros({2}), List({kMax, kMax})})).ok());
  EXPECT_FALSE(testing::RunSingle(Node("Pad", {Zeros({2}), List({0, int64_t{1} << 40})})).ok());
  ExpectInvalid(Node("Pad", {Zeros({2}), List({kMin, 0})}));
  ExpectInvalid(Node("Tile", {Zeros({2}), List({-1})}));
  ExpectInvalid(Node("Expand", {Zeros({2}), List({-1})}));
  ExpectInvalid(Node("DepthToSpace", {Zeros({1, 4, 2, 2})}, {{"blocksize", kMax}}));
  ExpectInvalid(Node("CenterCropPad", {Zeros({2}), List({kMin})}));
}

TEST(Pad, RepeatsAcrossSeveralPeriods) {
  const Operand x = Value(Tensor::Of<uint8_t>({3}, {1, 2, 3}));
  const auto padded = [&](const std::string& mode) {
    return Elements<uint8_t>(Node("Pad", {x, List({4, 5})}, {{"mode", mode}}));
  };
  EXPECT_THAT(padded("reflect"), ElementsAre(1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2));
  EXPECT_THAT(padded("wrap"), ElementsAre(3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2));
  EXPECT_THAT(padded("edge"), ElementsAre(1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3));
  EXPECT_THAT(padded("constant"), ElementsAre(0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0));
  ExpectInvalid(Node("Pad", {Zeros({0}), List({1, 1})}, {{"mode", std::string("reflect")}}));
}

TEST(Expand, OfNothingAndBooleans) {
  EXPECT_EQ(ShapeOf(Node("Expand", {Zeros({1, 3}), List({0, 1})})), (Shape{0, 3}));
  EXPECT_THAT(Elements<bool>(
                  Node("Expand", {Value(Tensor::Of<bool>({2, 1}, {true, false})), List({2, 2})})),
              ElementsAre(true, true, false, false));
}

TEST(Resize, RefusesSizesThatMakeNoSense) {
  const auto resize = [](float scale) {
    return Node("Resize",
                {Zeros({1, 4}), std::nullopt, Constant(Tensor::Of<float>({2}, {1, scale}))});
  };
  for (const float scale : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    ExpectInvalid(resize(scale));
  }
  EXPECT_FALSE(testing::RunSingle(resize(1e30f)).ok());
  ExpectInvalid(Node("Resize", {Zeros({1, 4}), std::nullopt, std::nullopt, List({1, -1})}));
  ExpectInvalid(Node("Resize", {Zeros({0}), std::nullopt, std::nullopt, List({4})}));
  ExpectInvalid(Node("Resize", {Zeros({1, 4})}));
  EXPECT_EQ(ShapeOf(Node("Resize", {Zeros({2}), std::nullopt, std::nullopt, List({0})},
                         {{"mode", std::string("linear")}})),
            (Shape{0}));
}

TEST(Resize, RoundsAndSaturatesIntegers) {
  SingleNode node = Node("Resize",
                         {Value(Tensor::Of<uint8_t>({4}, {0, 255, 255, 0})), std::nullopt,
                          Constant(Tensor::Of<float>({1}, {2}))},
                         {{"mode", std::string("cubic")},
                          {"coordinate_transformation_mode", std::string("asymmetric")}});
  // Between 0 and 255 the sum is 127.5, which rounds to even; between two 255s it is 302.8.
  EXPECT_THAT(Elements<uint8_t>(node), ElementsAre(0, 128, 255, 255, 255, 128, 0, 0));
}

TEST(Resize, ReadsNothingForRegionsThatAreNoNumbers) {
  SingleNode node =
      Node("Resize",
           {Value(Tensor::Of<float>({2}, {1, 2})),
            Value(Tensor::Of<float>({2}, {std::nanf(""), 1e30f})), std::nullopt, List({3})},
           {{"mode", std::string("linear")},
            {"extrapolation_value", 9.0f},
            {"coordinate_transformation_mode", std::string("tf_crop_and_resize")}});
  EXPECT_THAT(Elements<float>(node), ElementsAre(9, 9, 9));
}

TEST(GridSample, ReadsNothingOutsideOrForWhatIsNoNumber) {
  const Operand image = Value(Tensor::Of<float>({1, 1, 2, 2}, {1, 2, 3, 4}));
  const Operand grid = Value(Tensor::Of<float>({1, 1, 3, 2}, {0, 0, std::nanf(""), 0, 1e38f, 0}));
  EXPECT_THAT(Elements<float>(Node("GridSample", {image, grid})), ElementsAre(2.5f, 0, 0));
  for (const std::string padding : {"border", "reflection"}) {
    const auto values =
        Elements<float>(Node("GridSample", {image, grid}, {{"padding_mode", padding}}));
    for (const float value : values) EXPECT_TRUE(value >= 1 && value <= 4) << value;
  }
}

TEST(RoiAlign, RefusesHostileRegions) {
  const auto align = [](float right, int64_t batch) {
    return Node("RoiAlign",
                {Zeros({1, 1, 4, 4}), Value(Tensor::Of<float>({1, 4}, {0, 0, right, 2})),
                 Value(Tensor::Of<int64_t>({1}, {batch}))});
  };
  EXPECT_TRUE(testing::RunSingle(align(4, 0)).ok());
  ExpectInvalid(align(4, 1));
  ExpectInvalid(align(4, kMin));
  ExpectInvalid(align(1e9f, 0));
  ExpectInvalid(align(std::nanf(""), 0));
}

TEST(Selection, OrdersNotANumberAsTheLargest) {
  const float nan = std::nanf("");
  const Operand x = Value(Tensor::Of<float>({5}, {1, nan, 3, -2, nan}));
  SingleNode largest = Node("TopK", {x, List({3})});
  const auto values = Elements<float>(largest);
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1]));
  EXPECT_EQ(values[2], 3);
  EXPECT_THAT(Elements<float>(Node("TopK", {x, List({3})}, {{"largest", int64_t{0}}})),
              ElementsAre(-2, 1, 3));
  ExpectInvalid(Node("TopK", {x, List({6})}));
  ExpectInvalid(Node("TopK", {x, List({kMin})}));
}

TEST(Selection, OneHotIgnoresWhatIsOutOfRange) {
  SingleNode node = Node("OneHot", {Value(Tensor::Of<float>({4}, {-1, 1e30f, std::nanf(""), 2})),
                                    List({2}), Value(Tensor::Of<bool>({2}, {false, true}))});
  node.output.dtype = DataType::kBool;
  EXPECT_THAT(Elements<bool>(node),
              ElementsAre(false, true, false, false, false, false, false, false));
}

TEST(Generators, RefuseEndlessRanges) {
  const auto range = [](auto start, auto limit, auto delta) {
    return Node("Range", {Constant(Tensor::Scalar(start)), Constant(Tensor::Scalar(limit)),
                          Constant(Tensor::Scalar(delta))});
  };
  ExpectInvalid(range(int64_t{0}, int64_t{5}, int64_t{0}));
  ExpectInvalid(range(0.0f, 1.0f, 0.0f));
  ExpectInvalid(range(0.0f, std::nanf(""), 1.0f));
  EXPECT_FALSE(testing::RunSingle(range(kMin, kMax, int64_t{1})).ok());
}

TEST(ReverseSequence, RefusesLengthsBeyondTheAxis) {
  for (const int64_t length : {int64_t{4}, int64_t{-1}, kMax}) {
    ExpectInvalid(
        Node("ReverseSequence", {Zeros({3, 1}), Value(Tensor::Of<int64_t>({1}, {length}))}));
  }
}

// --- quantized values ---

Operand Codes(Shape shape, std::vector<uint8_t> codes, float scale, int32_t zero_point) {
  return {.tensor = Tensor::Of<uint8_t>(std::move(shape), codes),
          .quant = testing::PerTensor(scale, zero_point)};
}

SingleNode Carrying(SingleNode node) {
  node.output = {.dtype = DataType::kUint8, .quant = node.inputs[0]->quant};
  return node;
}

TEST(Codes, MoveUnchanged) {
  const Operand x = Codes({1, 4, 1, 2}, {1, 2, 3, 4, 5, 6, 7, 8}, 0.5f, 3);
  EXPECT_THAT(Elements<uint8_t>(Carrying(Node("Gather", {x, Value(Tensor::Of<int64_t>({1}, {-1}))},
                                              {{"axis", int64_t{1}}}))),
              ElementsAre(7, 8));
  EXPECT_THAT(Elements<uint8_t>(Carrying(Node("DepthToSpace", {x}, {{"blocksize", int64_t{2}}}))),
              ElementsAre(1, 3, 2, 4, 5, 7, 6, 8));
  EXPECT_THAT(Elements<uint8_t>(Carrying(Node("Slice", {x, List({1}), List({2}), List({1})}))),
              ElementsAre(3, 4));
  EXPECT_THAT(Elements<uint8_t>(Carrying(Node("Tile", {x, List({1, 1, 1, 2})}))),
              ElementsAre(1, 2, 1, 2, 3, 4, 3, 4, 5, 6, 5, 6, 7, 8, 7, 8));
}

TEST(Codes, PadWithTheCodeOfTheValue) {
  const Operand x = Codes({2}, {10, 20}, 0.5f, 3);
  EXPECT_THAT(Elements<uint8_t>(Carrying(Node("Pad", {x, List({1, 1})}))),
              ElementsAre(3, 10, 20, 3));
  EXPECT_THAT(Elements<uint8_t>(
                  Carrying(Node("Pad", {x, List({0, 1}), Constant(Tensor::Scalar<float>(2.0f))}))),
              ElementsAre(10, 20, 7));
  EXPECT_THAT(Elements<uint8_t>(
                  Carrying(Node("Pad", {x, List({0, 1}), Constant(Tensor::Scalar<float>(-1e9f))}))),
              ElementsAre(10, 20, 0));
}

TEST(Codes, AreInterpolated) {
  const Operand x = Codes({2}, {10, 21}, 0.5f, 3);
  EXPECT_THAT(Elements<uint8_t>(Carrying(
                  Node("Resize", {x, std::nullopt, std::nullopt, List({3})},
                       {{"mode", std::string("linear")},
                        {"coordinate_transformation_mode", std::string("align_corners")}}))),
              ElementsAre(10, 16, 21));  // 15.5 goes to the even code
}

TEST(Codes, OfOtherQuantizersAreTranslatedWhenJoined) {
  SingleNode node = Node("Concat",
                         {Codes({3}, {0, 10, 255}, 0.5f, 10),
                          Operand{.tensor = Tensor::Of<int8_t>({3}, {-128, 0, 127}),
                                  .quant = testing::PerTensor(1.0f, 0)}},
                         {{"axis", int64_t{0}}});
  node.output = {.dtype = DataType::kUint8, .quant = testing::PerTensor(0.5f, 10)};
  // The second operand: 2 * code + 10, saturated.
  EXPECT_THAT(Elements<uint8_t>(node), ElementsAre(0, 10, 255, 0, 10, 255));
  node.inputs[1]->tensor = Tensor::Of<int8_t>({3}, {-5, 1, 100});
  EXPECT_THAT(Elements<uint8_t>(node), ElementsAre(0, 10, 255, 0, 12, 210));
  node.inputs[1] = Value(Tensor::Of<float>({1}, {1}));
  EXPECT_EQ(testing::RunSingle(node).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
