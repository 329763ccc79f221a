#include "runtime/quantize_model.h"
#include "kernels/lowering.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "runtime/evaluate.h"
#include "runtime/quantize_report.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using quant::Precision;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::GraphBuilder;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RandomFloats;

// Three convolutions: wide, middle, last. With `outlier`, channel 0 between wide and middle is a
// thousand times larger than the others, and nobody needs it: one range for all costs everything.
GraphBuilder::Finished SmallNetwork(bool outlier) {
  GraphBuilder builder;
  Tensor wide = RandomFloats({16, 3, 3, 3}, 1, 0.2f);
  Tensor middle = RandomFloats({8, 16, 1, 1}, 2, 0.25f);
  if (outlier) {
    for (int i = 0; i < 27; ++i) wide.MutableAs<float>()[i] *= 1000;
    for (int o = 0; o < 8; ++o) middle.MutableAs<float>()[o * 16] = 1e-7f;
  }
  const absl::flat_hash_map<std::string, graph::Attribute> same = {
      {"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  ValueId value = builder.Input("x", {kUnknownDim, 3, 8, 8});
  value = builder.Apply("Conv", "wide", {value, builder.Constant("wide.w", wide)}, same);
  value = builder.Apply("Relu", "relu", {value});
  value = builder.Apply("Conv", "middle", {value, builder.Constant("middle.w", middle)});
  value =
      builder.Apply("Conv", "last",
                    {value, builder.Constant("last.w", RandomFloats({8, 8, 3, 3}, 3, 0.2f))}, same);
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Samples(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 3, 8, 8}, static_cast<uint32_t>(100 + i))});
  }
  return data;
}

QuantizedModel Quantize(const GraphBuilder::Finished& model, const CalibrationData& data,
                        const QuantizeOptions& options = {}) {
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, data, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

std::vector<Precision> Precisions(const QuantizedModel& model) {
  std::vector<Precision> result;
  result.reserve(model.report.layers.size());
  for (const LayerReport& layer : model.report.layers) result.push_back(layer.precision);
  return result;
}

// Measured here, on samples that the quantizer has not seen.
double SqnrOnNewSamples(const graph::Graph& exact, const graph::Graph& quantized) {
  std::vector<std::vector<Tensor>> samples(8);
  for (uint32_t i = 0; i < 8; ++i) samples[i] = {RandomFloats({1, 3, 8, 8}, 900 + i)};
  kernels::WeightCache a, b;
  return OutputSqnrDb(*RunAll(exact, samples, a), *RunAll(quantized, samples, b));
}

TEST(QuantizeModel, AWellBehavedNetworkIsInt8Throughout) {
  const auto model = SmallNetwork(false);
  const QuantizedModel quantized = Quantize(model, Samples(16));
  EXPECT_THAT(Precisions(quantized),
              ElementsAre(Precision::kInt8, Precision::kInt8, Precision::kInt8));
  EXPECT_EQ(quantized.report.mode, "int8");
  EXPECT_EQ(quantized.report.int8_mac_share, 1);
  EXPECT_EQ(quantized.report.calibration_samples + quantized.report.held_out_samples, 16u);
  EXPECT_EQ(quantized.report.attempts.size(), 4u);
  EXPECT_GT(SqnrOnNewSamples(model.graph, quantized.graph), 20);
}

// A chain of products; enough of them for the order of a hash table to show.
GraphBuilder::Finished LongChain() {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 32});
  for (uint32_t i = 0; i < 24; ++i) {
    const ValueId weights =
        builder.Constant(absl::StrCat("w", i), RandomFloats({32, 32}, i + 1, 0.25f));
    value = builder.Apply("MatMul", absl::StrCat("product", i), {value, weights});
  }
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

TEST(QuantizeModel, AgainMakesTheSameGraph) {
  const auto model = LongChain();
  const QuantizedModel first = Quantize(model, CalibrationData());
  const QuantizedModel second = Quantize(model, CalibrationData());
  graph::Graph released = first.graph;
  int codes = 0;
  for (size_t i = 0; i < released.value_count(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!released.IsConstant(id)) continue;
    codes += released.value(id).type.dtype == DataType::kInt8 ? 1 : 0;
    released.ReleaseBytes(id);
  }
  EXPECT_EQ(codes, 24);
  const absl::Status restored = released.RestoreBytes(second.graph);
  EXPECT_TRUE(restored.ok()) << restored;
}

// Weights that double from each of the 20 output channels to the next, 17 inputs wide.
Tensor DoublingWeights(const Shape& shape, bool outputs_first) {
  Tensor weights = RandomFloats(shape, 4, 1e-3f);
  const std::span<float> values = weights.MutableAs<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] *= std::exp2(static_cast<float>(outputs_first ? i / 17 : i % 20));
  }
  return weights;
}

// As in weights_test.cc, but of the layer: which dimension counts outputs depends on the operator.
void ExpectAScaleForEachOutput(
    const std::string& op, bool outputs_first, const Shape& input, const Shape& shape,
    const absl::flat_hash_map<std::string, graph::Attribute>& attributes) {
  GraphBuilder builder;
  const Tensor weights = DoublingWeights(shape, outputs_first);
  const ValueId x = builder.Input("x", input);
  builder.Output(builder.Apply(op, "layer", {x, builder.Constant("w", weights)}, attributes), "y");
  const QuantizedModel quantized = Quantize(builder.Finish(), CalibrationData());
  const graph::Graph& graph = quantized.graph;
  const graph::Node* layer = nullptr;
  for (const graph::NodeId id : graph.Nodes()) {
    if (graph.node(id).name == "layer") layer = &graph.node(id);
  }
  ASSERT_NE(layer, nullptr);
  const std::optional<graph::QuantParams>& quant = graph.value(layer->inputs[1]).type.quant;
  ASSERT_TRUE(quant.has_value());
  EXPECT_EQ(quant->axis, outputs_first ? 0 : 1);
  ASSERT_EQ(quant->scales.size(), 20u);
  // The largest of 17 random weights varies from channel to channel, but not eightfold.
  for (size_t c = 3; c < 20; ++c) EXPECT_GT(quant->scales[c], 2 * quant->scales[c - 3]) << c;
  EXPECT_THAT(quant->scales[19] / quant->scales[0], AllOf(Gt(0x1p17f), ::testing::Lt(0x1p21f)));
}

TEST(QuantizeModel, EachOutputChannelHasAScaleOfItsOwn) {
  ExpectAScaleForEachOutput("Conv", true, {kUnknownDim, 17, 4, 4}, {20, 17, 1, 1}, {});
  ExpectAScaleForEachOutput("MatMul", false, {kUnknownDim, 17}, {17, 20}, {});
  ExpectAScaleForEachOutput("Gemm", false, {kUnknownDim, 17}, {17, 20}, {});
  ExpectAScaleForEachOutput("Gemm", true, {kUnknownDim, 17}, {20, 17}, {{"transB", int64_t{1}}});
}

TEST(QuantizeModel, EveryLayerIsMeasuredAgainstFloat) {
  const QuantizedModel quantized = Quantize(SmallNetwork(false), Samples(16));
  for (const LayerReport& layer : quantized.report.layers) {
    EXPECT_THAT(layer.output_sqnr_db, AllOf(Gt(20), ::testing::Lt(60))) << layer.node;
    EXPECT_THAT(layer.weight_sqnr_db, Gt(30)) << layer.node;
  }
  // The last layer's result is the network's.
  EXPECT_NEAR(quantized.report.layers[2].output_sqnr_db, quantized.report.output_sqnr_db, 3);
}

TEST(QuantizeModel, TheLayerThatCostsTooMuchStaysInFloat) {
  const auto model = SmallNetwork(true);
  const QuantizeOptions options{.activation_algorithms = {"min_max"},
                                .fallback = Fallback::kFloat32};
  const QuantizedModel quantized = Quantize(model, Samples(16), options);
  EXPECT_THAT(Precisions(quantized),
              ElementsAre(Precision::kInt8, Precision::kFloat32, Precision::kInt8));
  const LayerReport& middle = quantized.report.layers[1];
  EXPECT_LT(middle.alone_sqnr_db, 10);
  EXPECT_THAT(middle.reason, HasSubstr("static int8 alone leaves"));
  EXPECT_EQ(middle.bytes_after, middle.bytes_before);
  EXPECT_GT(quantized.report.output_sqnr_db, options.accuracy.value);
  EXPECT_GT(SqnrOnNewSamples(model.graph, quantized.graph), options.accuracy.value);
  EXPECT_LT(quantized.report.int8_mac_share, 1);
}

#define SKIP_WITHOUT_BFLOAT16() \
  if (!kernels::HasBFloat16()) GTEST_SKIP() << "this CPU has no bfloat16 products"

TEST(QuantizeModel, TheLayerThatCostsTooMuchIsBFloat16WhereThatIsNative) {
  SKIP_WITHOUT_BFLOAT16();
  const auto model = SmallNetwork(true);
  const QuantizeOptions options{.activation_algorithms = {"min_max"}};
  const QuantizedModel quantized = Quantize(model, Samples(16), options);
  EXPECT_THAT(Precisions(quantized),
              ElementsAre(Precision::kInt8, Precision::kBFloat16, Precision::kInt8));
  const LayerReport& middle = quantized.report.layers[1];
  EXPECT_EQ(middle.bytes_after, middle.bytes_before / 2);
  EXPECT_GT(quantized.report.output_sqnr_db, options.accuracy.value);
  EXPECT_GT(SqnrOnNewSamples(model.graph, quantized.graph), options.accuracy.value);
  EXPECT_GT(quantized.report.bfloat16_mac_share, 0);
  EXPECT_DOUBLE_EQ(quantized.report.int8_mac_share + quantized.report.bfloat16_mac_share, 1);
}

TEST(QuantizeModel, BFloat16IsNearFloat32) {
  SKIP_WITHOUT_BFLOAT16();
  const auto model = SmallNetwork(false);
  const QuantizedModel quantized = Quantize(model, Samples(16), {.mode = Mode::kBFloat16});
  EXPECT_THAT(Precisions(quantized), ::testing::Each(Precision::kBFloat16));
  EXPECT_EQ(quantized.report.mode, "bf16");
  EXPECT_EQ(quantized.report.bfloat16_mac_share, 1);
  // Nothing calibrates: every sample measures.
  EXPECT_EQ(quantized.report.held_out_samples, 16u);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kMet);
  // Eight bits of precision: some 50 dB for each layer, and not exact.
  EXPECT_THAT(SqnrOnNewSamples(model.graph, quantized.graph), AllOf(Gt(40), ::testing::Lt(70)));
  EXPECT_THAT(ReportText(quantized.report), HasSubstr("0 layers int8, 3 bf16, 0 float"));

  const QuantizedModel unmeasured = Quantize(model, CalibrationData(), {.mode = Mode::kBFloat16});
  EXPECT_EQ(unmeasured.report.accuracy.verdict, AccuracyVerdict::kUnverified);
}

TEST(QuantizeModel, BFloat16LayersMoveToFloat32ForTheTarget) {
  SKIP_WITHOUT_BFLOAT16();
  QuantizeOptions options{.mode = Mode::kBFloat16};
  options.accuracy = {AccuracyMetric::kSqnr, 55};
  const QuantizedModel quantized = Quantize(SmallNetwork(false), Samples(16), options);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kMet);
  EXPECT_THAT(Precisions(quantized), ::testing::Contains(Precision::kFloat32));
}

TEST(QuantizeModel, RulesDecideForSingleLayers) {
  const auto model = SmallNetwork(false);
  const QuantizeOptions options{
      .mode = Mode::kFloat32,
      .layers = {{.match = "middle", .mode = Mode::kInt8, .per_channel = false},
                 {.match = "op:Conv", .mode = Mode::kInt8, .dynamic = true}}};
  const QuantizedModel quantized = Quantize(model, Samples(8), options);
  EXPECT_THAT(Precisions(quantized),
              ElementsAre(Precision::kInt8Dynamic, Precision::kInt8, Precision::kInt8Dynamic));
  for (const graph::NodeId id : quantized.graph.Nodes()) {
    const graph::Node& node = quantized.graph.node(id);
    if (node.op != "Conv") continue;
    const auto& quant = quantized.graph.value(node.inputs[1]).type.quant;
    ASSERT_TRUE(quant.has_value());
    EXPECT_EQ(quant->scales.size(), node.name == "middle" ? 1u : quant->zero_points.size());
    EXPECT_EQ(quant->axis.has_value(), node.name != "middle");
  }
}

TEST(QuantizeModel, StaticRangesOfALayerNeedSamples) {
  const auto model = SmallNetwork(false);
  const QuantizeOptions options{.layers = {{.match = "middle", .dynamic = false}}};
  const auto refused = QuantizeModel(model.graph, model.example_shapes, {}, options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr("middle"), HasSubstr("samples")));
}

TEST(QuantizeModel, RangesOfALayerMayBeChosenDifferently) {
  const auto model = SmallNetwork(false);
  QuantizeOptions options{.activation_algorithms = {"min_max"}};
  const auto scale_of = [&](const QuantizedModel& quantized, absl::string_view layer) {
    for (const graph::NodeId id : quantized.graph.Nodes()) {
      const graph::Node& node = quantized.graph.node(id);
      if (node.name == layer) {
        return quantized.graph.value(node.inputs[0]).type.quant->scales[0];
      }
    }
    return 0.0f;
  };
  const QuantizedModel before = Quantize(model, Samples(16), options);
  options.layers = {{.match = "middle", .activation_algorithm = "percentile"}};
  options.estimation.percentile = 90;
  options.on_fail = OnFail::kWarn;
  const QuantizedModel after = Quantize(model, Samples(16), options);
  EXPECT_LT(scale_of(after, "middle"), 0.9f * scale_of(before, "middle"));
  EXPECT_EQ(scale_of(after, "last"), scale_of(before, "last"));
}

TEST(QuantizeModel, TransformersKeepTheirOutliersUnlessForced) {
  const auto model = SmallNetwork(false);
  const auto status = [&](const QuantizeOptions& options) {
    return QuantizeModel(model.graph, model.example_shapes, Samples(8), options).status();
  };
  for (const char* algorithm : {"percentile", "entropy", "histogram_equalization"}) {
    QuantizeOptions options{.recipe = Recipe::kTransformer, .activation_algorithms = {algorithm}};
    EXPECT_THAT(std::string(status(options).message()),
                AllOf(HasSubstr("Q012"), HasSubstr(algorithm), HasSubstr("force: true")));
    options.force_clipping = true;
    EXPECT_TRUE(status(options).ok());
    options = {.recipe = Recipe::kTransformer,
               .layers = {{.match = "middle", .activation_algorithm = algorithm}}};
    EXPECT_THAT(std::string(status(options).message()),
                AllOf(HasSubstr("Q012"), HasSubstr("'middle'")));
    options.layers[0].force_clipping = true;
    EXPECT_TRUE(status(options).ok());
    EXPECT_TRUE(status({.recipe = Recipe::kCnn, .activation_algorithms = {algorithm}}).ok());
  }
  EXPECT_TRUE(status({.recipe = Recipe::kTransformer}).ok());
  EXPECT_TRUE(
      status({.recipe = Recipe::kTransformer, .activation_algorithms = {"least_squares"}}).ok());
}

TEST(QuantizeModel, ARuleThatMatchesNothingIsToldOrRefused) {
  const auto model = SmallNetwork(false);
  QuantizeOptions options{.layers = {{.match = "/nowhere/*", .mode = Mode::kFloat32}}};
  EXPECT_THAT(Quantize(model, Samples(8), options).report.warnings,
              ElementsAre(AllOf(HasSubstr("Q016: "), HasSubstr("/nowhere/*"))));
  options.strict = true;
  const auto refused = QuantizeModel(model.graph, model.example_shapes, Samples(8), options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(QuantizeModel, TheShareOfFloatIsLimited) {
  const QuantizeOptions options{.activation_algorithms = {"min_max"}, .max_float_fraction = 0};
  const QuantizedModel quantized = Quantize(SmallNetwork(true), Samples(16), options);
  EXPECT_EQ(Precisions(quantized)[1], Precision::kInt8);
  EXPECT_THAT(quantized.report.warnings, ElementsAre(HasSubstr("below the target")));
}

TEST(QuantizeModel, TheFirstRuleThatMatchesDecides) {
  const QuantizeOptions options{
      .layers = {{.match = "last", .mode = Mode::kInt8}, {.match = "*", .mode = Mode::kFloat32}}};
  const QuantizedModel quantized = Quantize(SmallNetwork(false), Samples(8), options);
  EXPECT_THAT(Precisions(quantized),
              ElementsAre(Precision::kFloat32, Precision::kFloat32, Precision::kInt8));
  EXPECT_EQ(quantized.report.layers[0].reason, "configured");
}

TEST(QuantizeModel, AConfiguredLayerStaysInt8WhateverItCosts) {
  const QuantizeOptions options{.activation_algorithms = {"min_max"},
                                .layers = {{.match = "middle", .mode = Mode::kInt8}}};
  const QuantizedModel quantized = Quantize(SmallNetwork(true), Samples(16), options);
  EXPECT_EQ(Precisions(quantized)[1], Precision::kInt8);
}

TEST(QuantizeModel, WithoutSamplesRangesAreMeasuredAtRunTime) {
  const auto model = SmallNetwork(false);
  const QuantizedModel quantized = Quantize(model, {});
  EXPECT_EQ(quantized.report.mode, "int8 dynamic");
  EXPECT_EQ(Precisions(quantized)[0], Precision::kInt8Dynamic);
  EXPECT_GT(SqnrOnNewSamples(model.graph, quantized.graph), 25);
}

TEST(QuantizeModel, OneSampleCannotBeHeldOut) {
  const QuantizedModel quantized = Quantize(SmallNetwork(false), Samples(1));
  EXPECT_EQ(quantized.report.held_out_samples, 0u);
  EXPECT_THAT(quantized.report.warnings, ElementsAre(HasSubstr("not measured")));
}

TEST(QuantizeModel, WeightsThatAreNotFiniteAreRefusedByName) {
  GraphBuilder builder;
  Tensor weight = RandomFloats({32, 8}, 1);
  weight.MutableAs<float>()[13] = NAN;
  builder.Output(
      builder.Apply("MatMul", "product",
                    {builder.Input("x", {kUnknownDim, 32}), builder.Constant("w", weight)}),
      "y");
  const auto model = builder.Finish();
  const auto refused = QuantizeModel(model.graph, model.example_shapes, {}, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr("product"), HasSubstr("at index [")));
  EXPECT_TRUE(QuantizeModel(model.graph, model.example_shapes, {}, {.zero_non_finite = true}).ok());
}

TEST(QuantizeReport, JsonHasWhatTheTextHas) {
  QuantizedModel quantized =
      Quantize(SmallNetwork(true), Samples(16),
               {.activation_algorithms = {"min_max"}, .fallback = Fallback::kFloat32});
  quantized.report.warnings.push_back("a \"quoted\"\nwarning \x01");
  google::protobuf::Struct json;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(ReportJson(quantized.report), &json).ok());
  EXPECT_EQ(json.fields().at("schema").string_value(), "octet-quantization-report/2");
  const auto& summary = json.fields().at("summary").struct_value().fields();
  EXPECT_EQ(summary.at("layers_int8").number_value(), 2);
  EXPECT_EQ(summary.at("layers_float32").number_value(), 1);
  EXPECT_NEAR(summary.at("output_sqnr_db").number_value(), quantized.report.output_sqnr_db, 1e-9);
  const auto& layers = json.fields().at("layers").list_value();
  ASSERT_EQ(layers.values_size(), 3);
  const auto& middle = layers.values(1).struct_value().fields();
  EXPECT_EQ(middle.at("name").string_value(), "middle");
  EXPECT_EQ(middle.at("decision").string_value(), "fp32");
  EXPECT_EQ(middle.at("bytes_before").number_value(), 8 * 16 * 4);
  EXPECT_EQ(json.fields().at("warnings").list_value().values(0).string_value(),
            "a \"quoted\"\nwarning \x01");
  EXPECT_THAT(
      ReportText(quantized.report),
      AllOf(HasSubstr("middle"), HasSubstr("2 layers int8, 1 float"), HasSubstr("min_max")));
}

TEST(QuantizeReport, KernelsComeFromThePlan) {
  const auto model = SmallNetwork(false);
  QuantizedModel quantized =
      Quantize(model, Samples(8), {.layers = {{.match = "last", .mode = Mode::kFloat32}}});
  kernels::WeightCache weights;
  const auto program =
      kernels::LowerGraph(*graph::Specialize(quantized.graph, model.example_shapes), weights);
  ASSERT_TRUE(program.ok()) << program.status();
  FillKernels(*program, quantized.report);
  for (const LayerReport& layer : quantized.report.layers) {
    EXPECT_THAT(layer.kernel, Not(IsEmpty())) << layer.node;
  }
  // Two layers in int8: "2 A", or "1 A, 1 B".
  EXPECT_THAT(DescribeInt8Kernels(*program),
              ::testing::AnyOf(HasSubstr("2 "), AllOf(HasSubstr("1 "), HasSubstr(", 1 "))));
}

}  // namespace
}  // namespace octet::runtime
