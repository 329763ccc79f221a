// Models that come quantized, as they are and without their quantizers.

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/load.h"
#include "tests/support/onnx_model.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using octet::testing::AddNode;
using ::testing::IsEmpty;

constexpr int64_t kWidth = 32;
constexpr float kInputScale = 0.02f, kMiddleScale = 0.004f, kWeightScale = 0.01f;

void AddScalar(onnx::GraphProto* graph, const std::string& name, int type, float value) {
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  if (type == onnx::TensorProto::FLOAT) {
    tensor->add_float_data(value);
  } else {
    tensor->add_int32_data(static_cast<int32_t>(value));
  }
}

Tensor WeightCodes(uint32_t seed) { return testing::RandomCodes({kWidth, kWidth}, seed, 127); }

void AddWeights(onnx::GraphProto* graph, const std::string& name, uint32_t seed) {
  const Tensor codes = WeightCodes(seed);
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name + ".codes");
  tensor->set_data_type(onnx::TensorProto::INT8);
  tensor->add_dims(kWidth);
  tensor->add_dims(kWidth);
  tensor->set_raw_data(codes.data(), codes.byte_size());
  AddNode(graph, "DequantizeLinear", {name + ".codes", "weights.scale"}, {name});
}

// Two products. The quantizer between them begins at zero, as exporters leave it that have taken a
// ReLU away, and its codes pass through an operator that moves them.
std::string Quantized() {
  onnx::ModelProto model = testing::XyModel({-1, kWidth});
  onnx::GraphProto* const graph = model.mutable_graph();
  AddScalar(graph, "input.scale", onnx::TensorProto::FLOAT, kInputScale);
  AddScalar(graph, "input.zero", onnx::TensorProto::UINT8, 128);
  AddScalar(graph, "middle.scale", onnx::TensorProto::FLOAT, kMiddleScale);
  AddScalar(graph, "middle.zero", onnx::TensorProto::UINT8, 0);
  AddScalar(graph, "weights.scale", onnx::TensorProto::FLOAT, kWeightScale);
  AddWeights(graph, "first", 1);
  AddWeights(graph, "second", 2);
  AddNode(graph, "QuantizeLinear", {"x", "input.scale", "input.zero"}, {"x.codes"});
  AddNode(graph, "DequantizeLinear", {"x.codes", "input.scale", "input.zero"}, {"x.floats"});
  AddNode(graph, "MatMul", {"x.floats", "first"}, {"product"});
  AddNode(graph, "QuantizeLinear", {"product", "middle.scale", "middle.zero"}, {"codes"});
  AddNode(graph, "Flatten", {"codes"}, {"flat"});
  AddNode(graph, "DequantizeLinear", {"flat", "middle.scale", "middle.zero"}, {"floats"});
  AddNode(graph, "MatMul", {"floats", "second"}, {"y"});
  return model.SerializeAsString();
}

PreparedModel Prepared(const std::string& path, Mode mode, bool strip) {
  LoadOptions options{.mode = mode, .strip_quantization = strip};
  absl::StatusOr<PreparedModel> model = PrepareModel(path, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

class EmbeddedQuantizationTest : public ::testing::Test {
 protected:
  EmbeddedQuantizationTest() { folder_.Write("model.onnx", Quantized()); }

  std::string path() const { return (folder_.path() / "model.onnx").string(); }

 private:
  testing::TemporaryDirectory folder_;
};

// matrix[rows, kWidth] times the weights of this seed.
std::vector<float> Product(const std::vector<float>& matrix, uint32_t seed) {
  const Tensor codes = WeightCodes(seed);
  const auto weights = codes.As<int8_t>();
  std::vector<float> result(matrix.size(), 0);
  for (size_t i = 0; i < matrix.size(); ++i) {
    const size_t row = i / kWidth * kWidth, column = i % kWidth;
    for (size_t k = 0; k < kWidth; ++k) {
      result[i] +=
          matrix[row + k] * kWeightScale * static_cast<float>(weights[k * kWidth + column]);
    }
  }
  return result;
}

TEST_F(EmbeddedQuantizationTest, IsUsedAsItIs) {
  const PreparedModel model = Prepared(path(), Mode::kFloat32, false);
  EXPECT_FALSE(model.graph.NodesOfType("octet.Quantize").empty());
  const PreparedModel asked = Prepared(path(), Mode::kInt8, false);
  ASSERT_TRUE(asked.quantization);
  EXPECT_THAT(asked.quantization->layers, IsEmpty());
}

TEST_F(EmbeddedQuantizationTest, GoesAndLeavesWhatItCutOff) {
  const PreparedModel model = Prepared(path(), Mode::kFloat32, true);
  for (const graph::NodeId id : model.graph.Nodes()) {
    const graph::Node& node = model.graph.node(id);
    EXPECT_TRUE(node.op != "octet.Quantize" && node.op != "octet.Dequantize" &&
                node.op != "QuantizeLinear" && node.op != "DequantizeLinear")
        << node.op;
  }
  const Tensor x = testing::RandomFloats({4, kWidth}, 9);
  std::vector<float> middle = Product({x.As<float>().begin(), x.As<float>().end()}, 1);
  const auto negative = std::count_if(middle.begin(), middle.end(), [](float v) { return v < 0; });
  ASSERT_GT(negative, 10);
  for (float& value : middle) value = std::clamp(value, 0.0f, kMiddleScale * 255);
  const std::vector<float> expected = Product(middle, 2);
  kernels::WeightCache weights;
  const std::vector<std::vector<Tensor>> samples = {{x}};
  const auto outputs = RunAll(model.graph, samples, weights);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const auto y = (*outputs)[0][0].As<float>();
  ASSERT_EQ(y.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-4) << i;
}

TEST_F(EmbeddedQuantizationTest, IsReplaced) {
  const PreparedModel model = Prepared(path(), Mode::kInt8, true);
  ASSERT_TRUE(model.quantization);
  ASSERT_EQ(model.quantization->layers.size(), 2u);
  for (const LayerReport& layer : model.quantization->layers) {
    EXPECT_EQ(layer.precision, quant::Precision::kInt8Dynamic);
    EXPECT_EQ(layer.weights.format, "s8c");  // the model's own has one scale
  }
}

}  // namespace
}  // namespace octet::runtime
