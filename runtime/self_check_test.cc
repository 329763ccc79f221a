#include "runtime/self_check.h"

#include <cmath>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "kernels/operator.h"
#include "runtime/load.h"
#include "tests/support/npy_writer.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::QuantParams;
using graph::TensorType;
using graph::ValueId;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

int LargestWeight() { return kernels::HasVnni() ? 127 : 63; }

TensorType Codes(Shape shape, float scale, int32_t zero_point, DataType dtype = DataType::kUint8) {
  return {
      .dtype = dtype, .shape = std::move(shape), .quant = QuantParams{{scale}, {zero_point}, {}}};
}

TensorType Floats(Shape shape) { return {.shape = std::move(shape)}; }

// A graph of layers that each have inputs of their own.
class Layers {
 public:
  Layers() : graph_(kernels::Registry()) {}

  ValueId Input(TensorType type) {
    graph::Input input{.border_type = type.dtype};
    input.symbols.resize(type.shape.size());
    shapes_.push_back(type.shape);
    return graph_.AddInput(std::move(input), absl::StrCat("x", shapes_.size()), std::move(type));
  }

  // Floats that become codes in the graph.
  ValueId Quantized(const TensorType& codes) {
    return graph_.Apply("octet.Quantize", absl::StrCat("quantize", shapes_.size()),
                        {Input(Floats(codes.shape))}, {}, codes);
  }

  ValueId Weights(Shape shape, std::optional<int> axis, int largest = LargestWeight()) {
    const int64_t channels = axis ? shape[*axis] : 1;
    QuantParams params{.zero_points = std::vector<int32_t>(channels, 0), .axis = axis};
    for (int64_t c = 0; c < channels; ++c) params.scales.push_back(0.001f * (1 + c % 7));
    return graph_.AddConstant("w", testing::RandomCodes(std::move(shape), ++seed_, largest),
                              std::move(params));
  }

  ValueId Bias(int64_t size) {
    return graph_.AddConstant("b", testing::RandomFloats({size}, ++seed_));
  }

  void Add(graph::Node node, const TensorType& result) {
    node.name = node.name.empty() ? absl::StrCat("layer", graph_.Nodes().size()) : node.name;
    const ValueId output = graph_.AddValue("y", result);
    node.outputs = {output};
    graph_.AddNode(std::move(node));
    graph_.AddOutput(output, "y", result.dtype);
  }

  Graph& graph() { return graph_; }

  SelfCheckResult Check(kernels::WeightCache& weights) const {
    absl::StatusOr<SelfCheckResult> result = CheckInt8Layers(graph_, shapes_, weights);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : SelfCheckResult();
  }
  SelfCheckResult Check() const {
    kernels::WeightCache weights;
    return Check(weights);
  }

 private:
  Graph graph_;
  std::vector<Shape> shapes_;
  uint32_t seed_ = 0;
};

std::string Details(const SelfCheckResult& result) {
  std::string text;
  for (const KernelMismatch& mismatch : result.mismatches) {
    absl::StrAppend(&text, mismatch.node, " ", mismatch.kernel, ": ", mismatch.detail, "\n");
  }
  return text;
}

std::vector<int64_t> Same(int64_t value, size_t count) {
  return std::vector<int64_t>(count, value);
}

void AddConvolutions(Layers& layers) {
  // The first layer of an image network, seven by seven, stride two.
  layers.Add({.op = "Conv",
              .inputs = {layers.Quantized(Codes({2, 3, 30, 30}, 0.02f, 114)),
                         layers.Weights({16, 3, 7, 7}, 0), layers.Bias(16)},
              .attributes = {{"strides", Same(2, 2)}, {"pads", Same(3, 4)}},
              .fused = {{.op = "Relu"}}},
             Codes({2, 16, 15, 15}, 0.03f, 0));
  // Codes in, codes out, padded where zero is not code 0.
  layers.Add({.op = "Conv",
              .inputs = {layers.Input(Codes({2, 32, 9, 11}, 0.02f, 77)),
                         layers.Weights({48, 32, 3, 3}, 0), layers.Bias(48)},
              .attributes = {{"pads", Same(1, 4)}, {"dilations", Same(2, 2)}},
              .fused = {{.op = "HardSwish"}}},
             Codes({2, 48, 7, 9}, 0.03f, 12));
  // Depthwise, one scale for all weights.
  layers.Add({.op = "Conv",
              .inputs = {layers.Input(Codes({3, 64, 8, 8}, 0.02f, 0)),
                         layers.Weights({64, 1, 3, 3}, std::nullopt)},
              .attributes = {{"group", int64_t{64}},
                             {"auto_pad", std::string("SAME_UPPER")},
                             {"strides", Same(2, 2)}},
              .fused = {{.op = "Clip", .alpha = 0, .beta = 6}}},
             Codes({3, 64, 4, 4}, 0.03f, 0));
  // Pointwise with a residual in codes.
  layers.Add(
      {.op = "Conv",
       .inputs = {layers.Input(Codes({2, 64, 7, 7}, 0.02f, 3)), layers.Weights({32, 64, 1, 1}, 0),
                  layers.Bias(32), layers.Input(Codes({2, 32, 7, 7}, 0.5f, 90))},
       .fused = {{.op = "Add", .input = 3}, {.op = "Relu"}}},
      Codes({2, 32, 7, 7}, 0.03f, 0));
  // Groups, and a float result with a float residual.
  layers.Add(
      {.op = "Conv",
       .inputs = {layers.Input(Codes({2, 32, 6, 6}, 0.02f, 128)), layers.Weights({64, 8, 3, 3}, 0),
                  graph::kNoValue, layers.Input(Floats({2, 64, 4, 4}))},
       .attributes = {{"group", int64_t{4}}},
       .fused = {{.op = "Swish", .alpha = 1}, {.op = "Add", .input = 3}}},
      Floats({2, 64, 4, 4}));
}

void AddProducts(Layers& layers) {
  layers.Add({.op = "Gemm",
              .inputs = {layers.Input(Codes({5, 96}, 0.02f, 100)), layers.Weights({40, 96}, 0),
                         layers.Bias(40)},
              .attributes = {{"transB", int64_t{1}}}},
             Floats({5, 40}));
  layers.Add({.op = "MatMul",
              .inputs = {layers.Input(Codes({2, 7, 64}, 0.02f, 100)), layers.Weights({64, 128}, 1),
                         layers.Bias(128)},
              .fused = {{.op = "Gelu"}}},
             Codes({2, 7, 128}, 0.02f, 20));
  layers.Add({.op = "MatMul",
              .inputs = {layers.Quantized(Codes({1, 12, 64}, 0.02f, 100)),
                         layers.Weights({64, 64}, std::nullopt), graph::kNoValue,
                         layers.Input(Codes({1, 12, 64}, 0.4f, 131))},
              .fused = {{.op = "Add", .input = 3}}},
             Codes({1, 12, 64}, 0.02f, 111));
}

void AddDynamic(Layers& layers) {
  layers.Add(
      {.op = "MatMul",
       .inputs = {layers.Input(Floats({3, 9, 96})), layers.Weights({96, 64}, 1), layers.Bias(64)},
       .fused = {{.op = "GeluTanh"}}},
      Floats({3, 9, 64}));
  layers.Add(
      {.op = "Gemm",
       .inputs = {layers.Input(Floats({17, 33})), layers.Weights({10, 33}, 0), layers.Bias(10)},
       .attributes = {{"transB", int64_t{1}}}},
      Floats({17, 10}));
  layers.Add({.op = "Conv",
              .inputs = {layers.Input(Floats({4, 3, 16, 16})), layers.Weights({24, 3, 3, 3}, 0),
                         layers.Bias(24)},
              .attributes = {{"pads", Same(1, 4)}, {"strides", Same(2, 2)}},
              .fused = {{.op = "LeakyRelu", .alpha = 0.1f}}},
             Floats({4, 24, 8, 8}));
  layers.Add({.op = "Conv",
              .inputs = {layers.Input(Floats({2, 32, 10, 10})), layers.Weights({32, 1, 3, 3}, 0),
                         graph::kNoValue, layers.Input(Floats({2, 32, 8, 8}))},
              .attributes = {{"group", int64_t{32}}},
              .fused = {{.op = "Add", .input = 3}}},
             Floats({2, 32, 8, 8}));
}

TEST(SelfCheck, ConvolutionsAreExact) {
  Layers layers;
  AddConvolutions(layers);
  const SelfCheckResult result = layers.Check();
  EXPECT_THAT(result.mismatches, IsEmpty()) << Details(result);
  EXPECT_EQ(result.checked, 5);
}

TEST(SelfCheck, ProductsAreExact) {
  Layers layers;
  AddProducts(layers);
  const SelfCheckResult result = layers.Check();
  EXPECT_THAT(result.mismatches, IsEmpty()) << Details(result);
  EXPECT_EQ(result.checked, 3);
}

TEST(SelfCheck, DynamicLayersAreExact) {
  Layers layers;
  AddDynamic(layers);
  const SelfCheckResult result = layers.Check();
  EXPECT_THAT(result.mismatches, IsEmpty()) << Details(result);
  EXPECT_EQ(result.checked, 4);
}

// Weights whose sum is large are multiplied by signed codes.
TEST(SelfCheck, DynamicLayersWithSignedRowsAreExact) {
  Layers layers;
  const Tensor ones = *Tensor::Allocate(DataType::kInt8, {64, 32});
  std::memset(const_cast<std::byte*>(ones.data()), LargestWeight(), ones.byte_size());
  const ValueId weights =
      layers.graph().AddConstant("w", ones, QuantParams{{0.01f}, {0}, std::nullopt});
  layers.Add({.op = "MatMul", .inputs = {layers.Input(Floats({6, 64})), weights}}, Floats({6, 32}));
  const SelfCheckResult result = layers.Check();
  EXPECT_THAT(result.mismatches, IsEmpty()) << Details(result);
  EXPECT_EQ(result.checked, 1);
}

TEST(SelfCheck, EqualLayersAreCheckedOnce) {
  if (!kernels::HasVnni()) GTEST_SKIP() << "without VNNI every layer's weights are checked";
  Layers layers;
  AddConvolutions(layers);
  AddConvolutions(layers);
  const SelfCheckResult result = layers.Check();
  EXPECT_EQ(result.layers, 10);
  EXPECT_EQ(result.checked, 5);
}

TEST(SelfCheck, FloatLayersAreNotChecked) {
  Layers layers;
  layers.Add({.op = "MatMul",
              .inputs = {layers.Input(Floats({2, 16})),
                         layers.graph().AddConstant("w", testing::RandomFloats({16, 4}, 1))}},
             Floats({2, 4}));
  const SelfCheckResult result = layers.Check();
  EXPECT_EQ(result.layers, 0);
  EXPECT_EQ(result.checked, 0);
}

// The packed weights are those of the codes before they were changed: what a packing that is wrong
// in a few places looks like.
void ExpectWrongWeightsAreFound(Layers& layers, size_t count) {
  kernels::WeightCache weights;
  ASSERT_THAT(layers.Check(weights).mismatches, IsEmpty());
  for (size_t i = 0; i < layers.graph().value_count(); ++i) {
    const graph::Value& value = layers.graph().value(static_cast<ValueId>(i));
    if (!value.constant || !value.type.quant) continue;
    auto* codes = reinterpret_cast<int8_t*>(const_cast<std::byte*>(value.constant->data()));
    // One weight per output channel in the packed copy is wrong.
    const size_t channel = value.constant->byte_size() / 16;
    for (size_t w = 0; w < value.constant->byte_size(); w += std::max<size_t>(channel / 8, 1)) {
      codes[w] = static_cast<int8_t>(codes[w] > 0 ? codes[w] - LargestWeight()
                                                  : codes[w] + LargestWeight());
    }
  }
  const SelfCheckResult result = layers.Check(weights);
  EXPECT_THAT(result.mismatches, SizeIs(count)) << Details(result);
  for (const KernelMismatch& mismatch : result.mismatches) {
    EXPECT_THAT(mismatch.kernel, Not(IsEmpty()));
    EXPECT_THAT(mismatch.detail, HasSubstr("sampled results are wrong"));
  }
}

TEST(SelfCheck, FindsWrongPackedWeightsOfConvolutions) {
  Layers layers;
  AddConvolutions(layers);
  ExpectWrongWeightsAreFound(layers, 5);
}

TEST(SelfCheck, FindsWrongPackedWeightsOfProducts) {
  Layers layers;
  AddProducts(layers);
  ExpectWrongWeightsAreFound(layers, 3);
}

TEST(SelfCheck, FindsWrongPackedWeightsOfDynamicLayers) {
  Layers layers;
  AddDynamic(layers);
  ExpectWrongWeightsAreFound(layers, 4);
}

TEST(SelfCheck, FindsProductsThatSaturate) {
  if (kernels::HasVnni()) GTEST_SKIP() << "8-bit products do not saturate on this processor";
  Layers layers;
  layers.Add({.op = "Conv",
              .inputs = {layers.Input(Codes({2, 32, 9, 11}, 0.02f, 77)),
                         layers.Weights({48, 32, 3, 3}, 0, 127)}},
             Codes({2, 48, 7, 9}, 0.03f, 120));
  layers.Add(
      {.op = "Gemm",
       .inputs = {layers.Input(Codes({5, 96}, 0.02f, 100)), layers.Weights({40, 96}, 0, 127)},
       .attributes = {{"transB", int64_t{1}}}},
      Floats({5, 40}));
  layers.Add({.op = "MatMul",
              .inputs = {layers.Input(Floats({3, 9, 96})), layers.Weights({96, 64}, 1, 127)}},
             Floats({3, 9, 64}));
  EXPECT_THAT(layers.Check().mismatches, SizeIs(3));
}

// --- the model with handwritten digits ---

const std::string& DigitsPath() {
  static const auto* const kPath = new std::string(OCTET_EXAMPLES "/models/digits/1/model.onnx");
  return *kPath;
}

std::vector<std::string> Mismatches(const std::vector<std::string>& warnings) {
  std::vector<std::string> found;
  for (const std::string& warning : warnings) {
    if (warning.starts_with("kernel_mismatch: ")) found.push_back(warning);
  }
  return found;
}

TEST(LoadModel, ChosenWeightsNeedNoFallback) {
  const auto model = LoadModel(DigitsPath(), {.max_batch_size = 8, .mode = Mode::kInt8});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(Mismatches((*model)->summary().warnings), IsEmpty());
  EXPECT_GT((*model)->summary().int8_mac_share, 0.9);
  EXPECT_THAT((*model)->summary().kernels, Not(IsEmpty()));
}

TEST(LoadModel, SamplesThatAreNotFiniteAreRefusedOrTakenAsZero) {
  testing::TemporaryDirectory folder;
  Tensor samples = testing::RandomFloats({6, 1, 8, 8}, 5);
  for (const size_t where : {size_t{3}, size_t{200}, size_t{383}}) {
    samples.MutableAs<float>()[where] = where == 200 ? -INFINITY : NAN;
  }
  LoadOptions options{.max_batch_size = 2, .mode = Mode::kInt8};
  options.calibration_path = folder.Write("s.npy", testing::Npy(samples, "<f4")).string();
  EXPECT_EQ(LoadModel(DigitsPath(), options).status().code(), absl::StatusCode::kInvalidArgument);
  options.quantization.zero_non_finite = true;
  const auto model = LoadModel(DigitsPath(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->summary().calibration, "static, 5 samples");
}

TEST(LoadModel, LayersWhoseProductsSaturateRunInFloat) {
  if (kernels::HasVnni()) GTEST_SKIP() << "8-bit products do not saturate on this processor";
  LoadOptions options{.max_batch_size = 8, .mode = Mode::kInt8};
  options.quantization.weight_range = QuantizeOptions::WeightRange::kFull;
  const absl::StatusOr<PreparedModel> model = PrepareModel(DigitsPath(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(Mismatches(model->quantization->warnings), Not(IsEmpty()));
  size_t in_float = 0;
  for (const LayerReport& layer : model->quantization->layers) {
    if (layer.reason != "kernel_mismatch") continue;
    EXPECT_EQ(layer.precision, quant::Precision::kFloat32) << layer.node;
    ++in_float;
  }
  EXPECT_EQ(in_float, Mismatches(model->quantization->warnings).size());
  // What is made again after the weights were released must have the same layers.
  options.self_check = false;
  options.quantization.decided = DecisionsOf(*model->quantization);
  const absl::StatusOr<PreparedModel> again = PrepareModel(DigitsPath(), options);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(graph::ToText(again->graph), graph::ToText(model->graph));
}

}  // namespace
}  // namespace octet::runtime
