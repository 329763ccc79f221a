// Models that come quantized: from QuantizeLinear nodes to integer kernels. The oracle is the same
// graph before any pass, computed in float between exact quantizers.

#include <random>

#include "gmock/gmock.h"
#include "graph/infer.h"
#include "graph/pass.h"
#include "gtest/gtest.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "tests/support/compare.h"
#include "tests/support/program_executor.h"
#include "tests/support/reference_executor.h"

namespace octet::kernels {
namespace {

using graph::Graph;
using graph::ValueId;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kChannels = 16;

template <typename T>
Tensor Random(Shape shape, int low, int high, uint32_t seed) {
  std::mt19937 random(seed);
  Tensor tensor = *Tensor::Allocate(DataTypeOf<T>(), std::move(shape));
  for (T& value : tensor.MutableAs<T>()) {
    value = static_cast<T>(std::uniform_int_distribution(low, high)(random));
  }
  return tensor;
}

// A model in the making: an input of 16 channels and 8 x 8 pixels, layers one after the other.
class Model {
 public:
  Model() : graph_(Registry()) {
    value_ = graph_.AddInput({.symbols = {"", "", "", ""}}, "x", {.shape = {1, kChannels, 8, 8}});
  }

  template <typename Code>
  Model& Quantize(float scale, Code zero_point) {
    value_ = Apply("QuantizeLinear", {value_, Scalar(scale), Scalar(zero_point)});
    return *this;
  }
  template <typename Code>
  Model& Dequantize(float scale, Code zero_point) {
    value_ = Apply("DequantizeLinear", {value_, Scalar(scale), Scalar(zero_point)});
    return *this;
  }
  template <typename Code>
  Model& Both(float scale, Code zero_point) {
    return Quantize(scale, zero_point).Dequantize(scale, zero_point);
  }

  // Codes from -20 to 20 around the zero point, per output channel.
  template <typename Code>
  Model& Conv(int zero_point, uint32_t seed) {
    const Tensor codes =
        Random<Code>({kChannels, kChannels, 3, 3}, zero_point - 20, zero_point + 20, seed);
    std::vector<float> scales(kChannels);
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.001f * static_cast<float>(i + 1);
    const std::vector<Code> zeros(kChannels, static_cast<Code>(zero_point));
    const ValueId weights =
        Apply("DequantizeLinear",
              {Constant(codes), Constant(Tensor::Of<float>({kChannels}, scales)),
               Constant(Tensor::Of<Code>({kChannels}, zeros))},
              {{"axis", int64_t{0}}});
    value_ = Apply("Conv", {value_, weights}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    return *this;
  }

  Model& Op(absl::string_view op, std::vector<ValueId> others = {},
            absl::flat_hash_map<std::string, graph::Attribute> attributes = {}) {
    others.insert(others.begin(), value_);
    value_ = Apply(op, std::move(others), std::move(attributes));
    return *this;
  }
  Model& MaxPool() {
    return Op(
        "MaxPool", {},
        {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  }

  ValueId value() const { return value_; }

  Graph Finish() {
    graph_.AddOutput(value_, "y", graph_.value(value_).type.dtype);
    EXPECT_TRUE(graph::InferSymbolicTypes(graph_).ok());
    return graph_;
  }

 private:
  ValueId Apply(absl::string_view op, std::vector<ValueId> inputs,
                absl::flat_hash_map<std::string, graph::Attribute> attributes = {}) {
    return graph_.Apply(op, std::string(op), std::move(inputs), std::move(attributes));
  }
  ValueId Constant(Tensor tensor) { return graph_.AddConstant("c", std::move(tensor)); }
  template <typename T>
  ValueId Scalar(T value) {
    return Constant(Tensor::Of<T>({1}, {value}).Reshaped({}));
  }

  Graph graph_;
  ValueId value_;
};

// Runs the passes; what comes out must compute what went in, up to `steps` of size `scale`.
std::string AfterPasses(Graph graph, double scale, double steps = 1) {
  Tensor x = *Tensor::Allocate(DataType::kFloat32, {1, kChannels, 8, 8});
  std::mt19937 random(3);
  for (float& value : x.MutableAs<float>()) {
    value = std::uniform_real_distribution(-5.0f, 6.0f)(random);
  }
  const auto expected = octet::testing::RunReference(graph, {x});
  EXPECT_TRUE(expected.ok()) << expected.status();
  const auto passes = graph::RunPasses(graph, graph::FloatPipeline());
  EXPECT_TRUE(passes.ok()) << passes.status();
  const auto concrete = graph::Specialize(graph, std::vector<Shape>{x.shape()});
  EXPECT_TRUE(concrete.ok()) << concrete.status();
  WeightCache weights;
  const auto program = LowerGraph(*concrete, weights);
  EXPECT_TRUE(program.ok()) << program.status();
  if (!program.ok()) return "";
  const auto actual = octet::testing::RunProgram(*program, {x});
  EXPECT_TRUE(actual.ok()) << actual.status();
  EXPECT_EQ(octet::testing::Difference((*actual)[0], (*expected)[0], (*expected)[0].dtype(),
                                       {.relative = 0, .absolute = scale * (steps + 0.01)}),
            "");
  return ToText(*concrete);
}

int Count(const std::string& text, const std::string& word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

TEST(QuantizedModel, ComputesOnCodesFromFirstToLastQuantizer) {
  Graph graph = Model()
                    .Both<uint8_t>(0.05f, 100)
                    .Conv<int8_t>(0, 1)
                    .Both<uint8_t>(0.04f, 90)
                    .MaxPool()
                    .Both<uint8_t>(0.04f, 90)
                    .Conv<int8_t>(0, 2)
                    .Both<uint8_t>(0.1f, 110)
                    .Finish();
  const std::string text = AfterPasses(std::move(graph), 0.1);
  EXPECT_EQ(Count(text, "octet.Quantize("), 1) << text;
  EXPECT_EQ(Count(text, "octet.Dequantize("), 1) << text;
  EXPECT_EQ(Count(text, " = QuantizeLinear("), 0) << text;
  EXPECT_EQ(Count(text, " = DequantizeLinear("), 0) << text;
}

TEST(QuantizedModel, KeepsTheClippingOfAnAbsorbedRelu) {
  // No Relu: the quantizer with a zero point of 0 cuts negative results off.
  Graph graph = Model()
                    .Both<uint8_t>(0.05f, 100)
                    .Conv<int8_t>(0, 1)
                    .Both<uint8_t>(0.02f, 0)
                    .Conv<int8_t>(0, 2)
                    .Both<int8_t>(0.1f, -5)
                    .Finish();
  EXPECT_EQ(Count(AfterPasses(std::move(graph), 0.1), "octet."), 2);
}

TEST(QuantizedModel, LeavesReluToAQuantizerThatClipsAtZero) {
  Model model;
  model.Both<uint8_t>(0.05f, 100).Conv<int8_t>(0, 1).Both<uint8_t>(0.04f, 90);
  const ValueId residual = model.value();
  model.Conv<int8_t>(0, 2).Both<uint8_t>(0.1f, 110).Op("Add", {residual}).Op("Relu");
  Graph graph = model.Both<uint8_t>(0.06f, 0).Finish();
  const std::string text = AfterPasses(std::move(graph), 0.06);
  EXPECT_THAT(text, AllOf(HasSubstr(" = Add("), Not(HasSubstr("Relu")))) << text;
  EXPECT_EQ(Count(text, "octet."), 2) << text;
}

TEST(QuantizedModel, KeepsReluBeforeASignedQuantizer) {
  Model model;
  model.Both<int8_t>(0.05f, 3).Op("Relu").Both<int8_t>(0.05f, 0).Conv<int8_t>(0, 1);
  Graph graph = model.Both<int8_t>(0.05f, 0).Finish();
  EXPECT_THAT(AfterPasses(std::move(graph), 0.05), HasSubstr("Relu"));
}

TEST(QuantizedModel, ShiftsUnsignedWeights) {
  Graph graph =
      Model().Both<uint8_t>(0.05f, 100).Conv<uint8_t>(128, 1).Both<uint8_t>(0.1f, 110).Finish();
  EXPECT_EQ(Count(AfterPasses(std::move(graph), 0.1), "octet."), 2);
}

TEST(QuantizedModel, RunsAsymmetricWeightsInFloat) {
  Graph graph =
      Model().Both<uint8_t>(0.05f, 100).Conv<uint8_t>(90, 1).Both<uint8_t>(0.1f, 110).Finish();
  EXPECT_THAT(AfterPasses(std::move(graph), 0.1), HasSubstr(" = Conv("));
}

TEST(QuantizedModel, MovesIntegersAsCodes) {
  // MaxPool of UINT8, as QOperator models have it.
  Graph graph = Model()
                    .Both<uint8_t>(0.05f, 100)
                    .Conv<int8_t>(0, 1)
                    .Quantize<uint8_t>(0.04f, 90)
                    .MaxPool()
                    .Dequantize<uint8_t>(0.04f, 90)
                    .Conv<int8_t>(0, 2)
                    .Both<uint8_t>(0.1f, 110)
                    .Finish();
  const std::string text = AfterPasses(std::move(graph), 0.1);
  EXPECT_EQ(Count(text, "octet."), 2) << text;
}

TEST(QuantizedModel, GivesCodesToWhomAsksForThem) {
  Graph graph =
      Model().Both<uint8_t>(0.05f, 100).Conv<int8_t>(0, 1).Quantize<uint8_t>(0.04f, 90).Finish();
  EXPECT_THAT(AfterPasses(std::move(graph), 1), HasSubstr(" = QuantizeLinear("));
}

TEST(QuantizedModel, ASecondQuantizerOfAnotherScaleStays) {
  Graph graph = Model().Both<uint8_t>(0.05f, 100).Both<uint8_t>(0.2f, 100).Finish();
  EXPECT_EQ(Count(AfterPasses(std::move(graph), 0.2), "octet.Quantize("), 2);
}

}  // namespace
}  // namespace octet::kernels
