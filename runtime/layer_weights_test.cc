#include "runtime/layer_weights.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/layer_inputs.h"
#include "runtime/plan.h"
#include "runtime/quantize_model.h"
#include "runtime/quantize_report.h"
#include "runtime/self_check.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using quant::Precision;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::GraphBuilder;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RandomFloats;

// Rows whose columns hang together, as those of real networks do.
Tensor CorrelatedRows(int64_t rows, int64_t columns, uint32_t seed) {
  const int64_t factors = columns / 4;
  const Tensor mixing = RandomFloats({factors, columns}, 7);
  const Tensor hidden = RandomFloats({rows, factors}, seed);
  Tensor result = RandomFloats({rows, columns}, seed + 1, 0.3f);
  const std::span<float> values = result.MutableAs<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t f = 0; f < factors; ++f) {
        values[static_cast<size_t>(r * columns + c)] +=
            hidden.As<float>()[static_cast<size_t>(r * factors + f)] *
            mixing.As<float>()[static_cast<size_t>(f * columns + c)];
      }
    }
  }
  return result;
}

// Two products, of the two ways to spell them.
GraphBuilder::Finished Products() {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 96});
  value = builder.Apply("MatMul", "first",
                        {value, builder.Constant("w1", RandomFloats({96, 160}, 1, 0.1f))});
  value = builder.Apply("Relu", "relu", {value});
  value = builder.Apply("Gemm", "second",
                        {value, builder.Constant("w2", RandomFloats({48, 160}, 2, 0.1f))},
                        {{"transB", int64_t{1}}});
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData ProductSamples(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({CorrelatedRows(16, 96, static_cast<uint32_t>(100 + 2 * i))});
  }
  return data;
}

QuantizedModel Quantize(const GraphBuilder::Finished& model, const CalibrationData& data,
                        const QuantizeOptions& options) {
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, data, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

QuantizeOptions FourBits() {
  QuantizeOptions options{.mode = LayerMode::kInt4, .target_is_set = false};
  options.four_bits.group = 32;
  return options;
}

const LayerReport& Layer(const QuantizedModel& model, const std::string& name) {
  for (const LayerReport& layer : model.report.layers) {
    if (layer.node == name) return layer;
  }
  ADD_FAILURE() << "no layer " << name;
  return model.report.layers.at(0);
}

TEST(LayerWeights, FourBitsAreStoredAndReported) {
  const QuantizedModel model = Quantize(Products(), ProductSamples(16), FourBits());
  EXPECT_EQ(model.report.mode, "int4");
  for (const LayerReport& layer : model.report.layers) {
    EXPECT_EQ(layer.precision, Precision::kInt4);
    EXPECT_EQ(layer.weights.bits, 4);
    EXPECT_EQ(layer.weights.format, "u4g32");
    EXPECT_TRUE(layer.weights.gptq);
    EXPECT_THAT(layer.weight_sqnr_db, Gt(15));
    // A nibble for each weight, for each 32 a float16 and half a byte.
    EXPECT_EQ(layer.bytes_after, layer.bytes_before / 8 + layer.bytes_before / 128 * 5 / 2);
    EXPECT_GT(layer.bytes_resident, layer.bytes_before / 4);
  }
  EXPECT_EQ(model.report.int8_mac_share, 1);
  EXPECT_THAT(ReportText(model.report), HasSubstr("u4g32 gptq"));
  EXPECT_THAT(ReportJson(model.report), HasSubstr("\"format\": \"u4g32\""));
}

TEST(LayerWeights, ErrorFeedbackBeatsLeastSquaresBeatsTheWholeRange) {
  const auto model = Products();
  const CalibrationData data = ProductSamples(32);
  QuantizeOptions options = FourBits();
  options.four_bits.group = 96;
  const double gptq = Quantize(model, data, options).report.output_sqnr_db;
  options.compensation = QuantizeOptions::Compensation::kNone;
  const double least_squares = Quantize(model, data, options).report.output_sqnr_db;
  options.weight_algorithm = "min_max";
  const double min_max = Quantize(model, data, options).report.output_sqnr_db;
  EXPECT_GT(gptq, least_squares + 1);
  EXPECT_GT(least_squares, min_max);
}

TEST(LayerWeights, CodebooksAndScalesPerRow) {
  const auto model = Products();
  const CalibrationData data = ProductSamples(8);
  const auto format = [&](auto change) {
    QuantizeOptions options = FourBits();
    options.four_bits.group = 0;
    change(options.four_bits);
    const QuantizedModel quantized = Quantize(model, data, options);
    EXPECT_THAT(quantized.report.output_sqnr_db, Gt(10));
    return Layer(quantized, "first").weights.format;
  };
  using Options = QuantizeOptions::FourBits;
  EXPECT_EQ(format([](Options&) {}), "u4c");
  EXPECT_EQ(format([](Options& options) { options.symmetric = true; }), "s4c");
  for (const char* algorithm : {"least_squares", "decision_tree", "histogram_equalization"}) {
    EXPECT_EQ(format([&](Options& options) { options.codebook = algorithm; }), "cb4c");
  }
  EXPECT_EQ(format([](Options& options) {
              options.codebook = "least_squares";
              options.one_table = true;
            }),
            "cb4t");
  EXPECT_EQ(format([](Options& options) {
              options.codebook = "least_squares";
              options.group = 32;
            }),
            "cb4g32");
}

TEST(LayerWeights, ReducedWeightsStayReduced) {
  QuantizeOptions options = FourBits();
  options.weight_range = QuantizeOptions::WeightRange::kReduced;
  for (const char* codebook : {"", "least_squares"}) {
    options.four_bits.codebook = codebook;
    const QuantizedModel model = Quantize(Products(), {}, options);
    int largest = 0, constants = 0;
    for (size_t i = 0; i < model.graph.value_count(); ++i) {
      const graph::Value& value = model.graph.value(static_cast<ValueId>(i));
      if (!value.constant || value.constant->dtype() != DataType::kInt8) continue;
      if (!value.constant->has_bytes()) continue;
      ++constants;
      for (const int8_t code : value.constant->As<int8_t>()) {
        largest = std::max(largest, std::abs(code));
      }
    }
    EXPECT_EQ(constants, 2);
    EXPECT_EQ(largest, 63);
  }
}

// All int8 constants, by name.
std::map<std::string, std::vector<int8_t>> Codes(const graph::Graph& graph) {
  std::map<std::string, std::vector<int8_t>> codes;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const graph::Value& value = graph.value(static_cast<ValueId>(i));
    if (!value.constant || value.type.dtype != DataType::kInt8) continue;
    const auto bytes = value.constant->As<int8_t>();
    codes[value.name].assign(bytes.begin(), bytes.end());
  }
  return codes;
}

TEST(LayerWeights, DoNotDependOnThreads) {
  for (const LayerMode mode : {LayerMode::kInt8, LayerMode::kInt4}) {
    QuantizeOptions options = FourBits();
    options.mode = mode;
    const auto one = Codes(Quantize(Products(), ProductSamples(8), options).graph);
    options.threads = 4;
    EXPECT_EQ(Codes(Quantize(Products(), ProductSamples(8), options).graph), one);
    EXPECT_EQ(one.size(), 2u);
  }
}

TEST(LayerWeights, WithoutSamplesThereIsNoFeedback) {
  QuantizeOptions options = FourBits();
  options.compensation = QuantizeOptions::Compensation::kGptq;
  const QuantizedModel model = Quantize(Products(), {}, options);
  EXPECT_EQ(model.report.mode, "int4 dynamic");
  EXPECT_EQ(model.report.layers[0].precision, Precision::kInt4Dynamic);
  EXPECT_FALSE(model.report.layers[0].weights.gptq);
  EXPECT_THAT(model.report.warnings, ElementsAre(HasSubstr("needs calibration data"),
                                                 HasSubstr("without accuracy.target")));
}

TEST(LayerWeights, ATargetMovesLayersBackToEightBits) {
  QuantizeOptions options = FourBits();
  options.accuracy.value = 26;
  const QuantizedModel left = Quantize(Products(), ProductSamples(32), options);
  EXPECT_EQ(left.report.layers[0].precision, Precision::kInt4);
  EXPECT_EQ(left.report.layers[1].precision, Precision::kInt4);
  EXPECT_THAT(left.report.warnings, Contains(HasSubstr("without accuracy.target")));
  EXPECT_THAT(left.report.warnings, Contains(HasSubstr("no layer was given more precision")));
  options.target_is_set = true;
  const QuantizedModel moved = Quantize(Products(), ProductSamples(32), options);
  EXPECT_GE(moved.report.output_sqnr_db, 26);
  EXPECT_THAT(moved.report.warnings, IsEmpty());
  int eight = 0;
  for (const LayerReport& layer : moved.report.layers) {
    if (layer.precision == Precision::kInt4) continue;
    EXPECT_THAT(layer.reason, HasSubstr("int4 alone leaves"));
    EXPECT_EQ(layer.weights.format, "s8c");
    ++eight;
  }
  EXPECT_GE(eight, 1);
}

// A convolution of several pixels, and 1x1 ones of many and of few inputs.
GraphBuilder::Finished Convolutions() {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 3, 6, 6});
  const auto conv = [&](const char* name, Shape weight, std::vector<int64_t> strides) {
    const int64_t inputs = ElementCount(weight) / weight[0];
    const float deviation = 1 / std::sqrt(static_cast<float>(inputs));
    value = builder.Apply(
        "Conv", name,
        {value, builder.Constant(absl::StrCat(name, ".w"), RandomFloats(weight, 5, deviation))},
        {{"strides", std::move(strides)}});
  };
  conv("wide", {256, 3, 3, 3}, {1, 1});
  conv("deep", {16, 256, 1, 1}, {2, 1});
  conv("shallow", {8, 16, 1, 1}, {1, 1});
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Images(size_t count) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 3, 6, 6}, static_cast<uint32_t>(50 + i))});
  }
  return data;
}

TEST(LayerWeights, AmongConvolutionsFourBitsAreForDeepProducts) {
  QuantizeOptions options = FourBits();
  QuantizedModel model = Quantize(Convolutions(), Images(8), options);
  EXPECT_EQ(Layer(model, "wide").precision, Precision::kInt8);
  EXPECT_THAT(Layer(model, "wide").reason, HasSubstr("several pixels"));
  EXPECT_EQ(Layer(model, "deep").precision, Precision::kInt4);
  EXPECT_TRUE(Layer(model, "deep").weights.gptq);
  EXPECT_EQ(Layer(model, "shallow").precision, Precision::kInt8);
  EXPECT_THAT(Layer(model, "shallow").reason, HasSubstr("16 inputs"));
  options.layers = {{"wide", LayerMode::kInt4}, {"deep", LayerMode::kInt8}};
  model = Quantize(Convolutions(), Images(8), options);
  EXPECT_EQ(Layer(model, "wide").precision, Precision::kInt4);
  EXPECT_FALSE(Layer(model, "wide").weights.gptq);
  EXPECT_THAT(Layer(model, "wide").weights.note, HasSubstr("without GPTQ"));
  EXPECT_EQ(Layer(model, "deep").precision, Precision::kInt8);
}

TEST(LayerWeights, MixedGranularityLooksAtTheGain) {
  GraphBuilder builder;
  Tensor uneven = RandomFloats({32, 16}, 2, 0.1f);
  for (size_t i = 0; i < 512; ++i) {
    uneven.MutableAs<float>()[i] *= std::exp2(static_cast<float>(i % 16));
  }
  // Equal columns: a scale for each would be the same one.
  Tensor even = RandomFloats({32, 32}, 3, 0.1f);
  for (size_t i = 0; i < 1024; ++i) {
    even.MutableAs<float>()[i] = even.As<float>()[i / 32 * 32];
  }
  ValueId value = builder.Input("x", {kUnknownDim, 32});
  value = builder.Apply("MatMul", "even", {value, builder.Constant("a", even)});
  value = builder.Apply("MatMul", "uneven", {value, builder.Constant("b", uneven)});
  builder.Output(value, "y");
  const auto finished = builder.Finish(/*optimize=*/true);
  const QuantizedModel model = Quantize(finished, {}, {.least_channel_gain_db = 0.5});
  EXPECT_EQ(Layer(model, "even").weights.format, "s8t");
  EXPECT_THAT(Layer(model, "even").weights.note, HasSubstr("would gain 0.0 dB only"));
  EXPECT_EQ(Layer(model, "uneven").weights.format, "s8c");
  EXPECT_THAT(Layer(model, "uneven").weights.note, HasSubstr("gains"));
  EXPECT_EQ(Layer(Quantize(finished, {}, {}), "even").weights.format, "s8c");
}

TEST(LayerWeights, DecisionsMakeTheSameGraph) {
  const auto model = Products();
  const CalibrationData data = ProductSamples(8);
  const QuantizedModel first = Quantize(model, data, FourBits());
  QuantizeOptions options = FourBits();
  options.decided = DecisionsOf(first.report);
  const QuantizedModel second = Quantize(model, data, options);
  EXPECT_EQ(Codes(first.graph), Codes(second.graph));
}

// The outputs of all samples, byte by byte, and how large the weights are that they took.
struct Served {
  std::string bytes;
  size_t weight_bytes = 0;
};

Served Serve(const graph::Graph& graph, const CalibrationData& data) {
  kernels::WeightCache cache;
  const auto outputs = RunAll(graph, data.samples, cache);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  Served served{.weight_bytes = cache.bytes()};
  for (const auto& sample : *outputs) {
    for (const Tensor& output : sample) {
      served.bytes.append(reinterpret_cast<const char*>(output.data()), output.byte_size());
    }
  }
  return served;
}

TEST(LayerWeights, ExpandedWhileRunningIsWhatIsExpandedWhenLoaded) {
  const auto model = Products();
  for (const bool dynamic : {false, true}) {
    const CalibrationData data = dynamic ? CalibrationData() : ProductSamples(8);
    for (const char* form : {"u4g32", "s4g32", "u4c", "cb4c", "cb4t", "cb4g32", "reduced"}) {
      const std::string name = form;
      QuantizeOptions options = FourBits();
      options.four_bits.symmetric = name == "s4g32";
      if (name.rfind("cb4", 0) == 0) options.four_bits.codebook = "decision_tree";
      if (name == "u4c" || name == "cb4c" || name == "cb4t") options.four_bits.group = 0;
      options.four_bits.one_table = name == "cb4t";
      if (name == "reduced") options.weight_range = QuantizeOptions::WeightRange::kReduced;
      const QuantizedModel load = Quantize(model, data, options);
      options.four_bits.expand_at_run = true;
      const QuantizedModel run = Quantize(model, data, options);
      const Served loaded = Serve(load.graph, ProductSamples(3));
      const Served running = Serve(run.graph, ProductSamples(3));
      EXPECT_TRUE(loaded.bytes == running.bytes) << form << (dynamic ? " dynamic" : " static");
      // Beside codes of 96 and 160 columns, tables and scales are a large part.
      EXPECT_LT(running.weight_bytes, loaded.weight_bytes * 3 / 4) << form;
      EXPECT_EQ(Layer(run, "first").weights.expand, "run");
      EXPECT_LT(Layer(run, "first").bytes_resident, Layer(load, "first").bytes_resident);
    }
  }
}

// Twenty products of equal size: what one is expanded into, the next one is too.
TEST(LayerWeights, ExpandedWeightsShareTheirMemory) {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 64});
  for (uint32_t i = 0; i < 20; ++i) {
    const ValueId weights =
        builder.Constant(absl::StrCat("w", i), RandomFloats({64, 64}, i + 1, 0.1f));
    value = builder.Apply("MatMul", absl::StrCat("product", i), {value, weights});
  }
  builder.Output(value, "y");
  const auto model = builder.Finish(/*optimize=*/true);
  QuantizeOptions options = FourBits();
  options.four_bits.expand_at_run = true;
  const QuantizedModel quantized = Quantize(model, {}, options);
  kernels::WeightCache cache;
  const auto plan = MakePlan(quantized.graph, std::vector<Shape>{{1, 64}}, cache);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_LT((*plan)->memory.arena_bytes, 4u * 64 * 64);
}

TEST(LayerWeights, KernelsThatReadExpandedWeightsAreChecked) {
  const auto model = Products();
  QuantizeOptions options = FourBits();
  options.four_bits.expand_at_run = true;
  for (const CalibrationData& data : {CalibrationData(), ProductSamples(8)}) {
    const QuantizedModel quantized = Quantize(model, data, options);
    kernels::WeightCache cache;
    const auto checked = CheckInt8Layers(quantized.graph, model.example_shapes, cache);
    ASSERT_TRUE(checked.ok()) << checked.status();
    EXPECT_EQ(checked->layers, 2);
    EXPECT_EQ(checked->checked, 2);
    EXPECT_EQ(checked->mismatches.size(), 0u);
  }
}

// X^T X of the rows themselves.
void ExpectHessian(const quant::Hessian& hessian, const std::vector<std::vector<double>>& rows) {
  EXPECT_EQ(hessian.rows(), static_cast<int64_t>(rows.size()));
  for (int64_t i = 0; i < hessian.columns(); ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double expected = 0;
      for (const auto& row : rows) {
        expected += row[static_cast<size_t>(i)] * row[static_cast<size_t>(j)];
      }
      EXPECT_NEAR(hessian.At(i, j), expected, 1e-3 * (1 + std::abs(expected)));
    }
  }
}

TEST(CollectHessians, RowsOfImagesArePixelsThatAreRead) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {1, 5, 4, 3});
  const ValueId weights = builder.Constant("w", RandomFloats({2, 5, 1, 1}, 1));
  builder.Output(
      builder.Apply("Conv", "c", {x, weights}, {{"strides", std::vector<int64_t>{2, 1}}}), "y");
  const auto model = builder.Finish();
  const auto input = ProductInputOf(model.graph, model.graph.Nodes()[0]);
  ASSERT_TRUE(input.has_value());
  const Tensor image = RandomFloats({1, 5, 4, 3}, 2);
  kernels::WeightCache cache;
  const std::vector<std::vector<Tensor>> samples = {{image}};
  const auto hessians = CollectHessians(model.graph, std::span(&*input, 1), samples, cache, 1);
  ASSERT_TRUE(hessians.ok()) << hessians.status();
  std::vector<std::vector<double>> rows;
  for (const size_t y : {0, 2}) {
    for (size_t c = 0; c < 3; ++c) {
      auto& row = rows.emplace_back();
      for (size_t k = 0; k < 5; ++k) row.push_back(image.As<float>()[k * 12 + y * 3 + c]);
    }
  }
  ExpectHessian(hessians->at(0), rows);
}

TEST(CollectHessians, RowsOfGroupsAreWhatTheirWindowsCover) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {1, 4, 3, 4});
  const ValueId weights = builder.Constant("w", RandomFloats({2, 2, 3, 2}, 1));
  builder.Output(builder.Apply("Conv", "c", {x, weights},
                               {{"group", int64_t{2}},
                                {"strides", std::vector<int64_t>{2, 1}},
                                {"dilations", std::vector<int64_t>{1, 2}},
                                {"pads", std::vector<int64_t>{1, 1, 1, 0}}}),
                 "y");
  const auto model = builder.Finish();
  EXPECT_FALSE(ProductInputOf(model.graph, model.graph.Nodes()[0]).has_value());
  const std::vector<RowInput> inputs = RowInputsOf(model.graph, model.graph.Nodes()[0]);
  ASSERT_EQ(inputs.size(), 2u);
  const Tensor image = RandomFloats({1, 4, 3, 4}, 2);
  kernels::WeightCache cache;
  const std::vector<std::vector<Tensor>> samples = {{image}};
  const auto hessians = CollectHessians(model.graph, inputs, samples, cache, 1);
  ASSERT_TRUE(hessians.ok()) << hessians.status();
  for (const int group : {0, 1}) {
    std::vector<std::vector<double>> rows;
    for (const int top : {-1, 1}) {
      for (const int left : {-1, 0, 1}) {
        auto& row = rows.emplace_back();
        for (int tap = 0; tap < 12; ++tap) {
          const int64_t c = group * 2 + tap / 6, h = top + tap % 6 / 2, w = left + tap % 2 * 2;
          const bool inside = h >= 0 && h < 3 && w >= 0 && w < 4;
          row.push_back(inside ? image.As<float>()[static_cast<size_t>(c * 12 + h * 4 + w)] : 0);
        }
      }
    }
    ExpectHessian(hessians->at(static_cast<size_t>(group)), rows);
  }
}

TEST(CollectHessians, MostRowsAreLeftOutAndNumbersThatAreNotFiniteAreZero) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 16});
  builder.Output(builder.Apply("MatMul", "p", {x, builder.Constant("w", RandomFloats({16, 2}, 1))}),
                 "y");
  const auto model = builder.Finish();
  const auto input = ProductInputOf(model.graph, model.graph.Nodes()[0]);
  ASSERT_TRUE(input.has_value());
  kernels::WeightCache cache;
  std::vector<std::vector<Tensor>> samples = {{RandomFloats({9000, 16}, 3)}};
  const auto many = CollectHessians(model.graph, std::span(&*input, 1), samples, cache, 2);
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(many->at(0).rows(), 1024);
  Tensor few = RandomFloats({3, 16}, 4);
  few.MutableAs<float>()[20] = INFINITY;
  few.MutableAs<float>()[21] = NAN;
  std::vector<std::vector<double>> rows;
  for (size_t r = 0; r < 3; ++r) {
    auto& row = rows.emplace_back();
    for (size_t k = 0; k < 16; ++k) {
      const float value = few.As<float>()[r * 16 + k];
      row.push_back(std::isfinite(value) ? value : 0);
    }
  }
  samples = {{few}};
  const auto hessians = CollectHessians(model.graph, std::span(&*input, 1), samples, cache, 2);
  ASSERT_TRUE(hessians.ok()) << hessians.status();
  ExpectHessian(hessians->at(0), rows);
  EXPECT_EQ(CollectHessians(model.graph, std::span(&*input, 1), {}, cache, 1).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace octet::runtime
