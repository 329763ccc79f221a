#include "runtime/accuracy_guard.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/weight_cache.h"
#include "runtime/evaluate.h"
#include "runtime/quantize_model.h"
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
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RandomFloats;

constexpr int kClasses = 8;

AccuracyTarget Sqnr(double value) { return {AccuracyMetric::kSqnr, value}; }

TEST(Judge, EnoughSamplesAreNeeded) {
  EXPECT_EQ(Judge(Sqnr(20), {.samples = 4, .sqnr_db = 20}), AccuracyVerdict::kMet);
  EXPECT_EQ(Judge(Sqnr(20), {.samples = 3, .sqnr_db = 50}), AccuracyVerdict::kUnverified);
  EXPECT_EQ(Judge(Sqnr(20), {.samples = 3, .sqnr_db = 19}), AccuracyVerdict::kBestEffort);
  EXPECT_EQ(Judge(Sqnr(0), {}), AccuracyVerdict::kUnverified);
}

TEST(Judge, SharesNeedDecisionsThatShowASingleError) {
  const AccuracyTarget target{AccuracyMetric::kAgreement, 0.99};
  const auto agreed = [&](size_t of, size_t all) {
    return Judge(target, {.samples = 10, .decisions = all, .agreed = of});
  };
  EXPECT_EQ(agreed(99, 99), AccuracyVerdict::kUnverified);
  EXPECT_EQ(agreed(99, 100), AccuracyVerdict::kMet);
  EXPECT_EQ(agreed(98, 100), AccuracyVerdict::kBestEffort);
  EXPECT_EQ(agreed(0, 0), AccuracyVerdict::kUnverified);
  EXPECT_EQ(
      Judge({AccuracyMetric::kAgreement, 0.5}, {.samples = 31, .decisions = 31, .agreed = 31}),
      AccuracyVerdict::kUnverified);
}

TEST(Judge, ADropIsRelativeToFloat) {
  const AccuracyTarget target{AccuracyMetric::kTop1, 0.1, /*is_drop=*/true};
  const AccuracyValues values{
      .samples = 100, .decisions = 100, .labelled = 100, .right = 45, .right_float32 = 50};
  EXPECT_NEAR(*Measured(target, values), 0.1, 1e-9);
  EXPECT_EQ(Judge({AccuracyMetric::kTop1, 0.101, true}, values), AccuracyVerdict::kMet);
  EXPECT_EQ(Judge({AccuracyMetric::kTop1, 0.099, true}, values), AccuracyVerdict::kBestEffort);
  EXPECT_EQ(Judge({AccuracyMetric::kTop1, 0.45}, values), AccuracyVerdict::kMet);
  const AccuracyTarget f1{AccuracyMetric::kF1, 0.1, /*is_drop=*/true};
  const AccuracyValues half{.samples = 100, .labelled = 100, .f1 = 0.4, .f1_float32 = 0.5};
  EXPECT_NEAR(*Measured(f1, half), 0.2, 1e-9);
  EXPECT_EQ(Judge(f1, half), AccuracyVerdict::kBestEffort);
  EXPECT_EQ(Judge({AccuracyMetric::kF1, 0.39}, half), AccuracyVerdict::kMet);
  EXPECT_EQ(Judge(f1, {.samples = 100, .labelled = 100}), AccuracyVerdict::kUnverified);
  // A network that is never right cannot lose.
  EXPECT_EQ(Judge(target, {.samples = 100, .labelled = 100}), AccuracyVerdict::kUnverified);
}

TEST(Judge, OfRelativeErrorLessIsBetter) {
  const AccuracyTarget target = DefaultTarget(AccuracyMetric::kRelativeError);
  EXPECT_EQ(Judge(target, {.samples = 8, .relative_error = 0.09}), AccuracyVerdict::kMet);
  EXPECT_EQ(Judge(target, {.samples = 8, .relative_error = 0.11}), AccuracyVerdict::kBestEffort);
}

// Four convolutions and a product that decides between classes. Between `hard` and the one before
// it, channel 0 is a thousand times larger than the others and nobody needs it: one range for all
// costs everything.
GraphBuilder::Finished Classifier(bool outlier) {
  GraphBuilder builder;
  Tensor before = RandomFloats({16, 8, 3, 3}, 2, 0.12f);
  Tensor hard = RandomFloats({8, 16, 1, 1}, 3, 0.25f);
  if (outlier) {
    for (int i = 0; i < 72; ++i) before.MutableAs<float>()[i] *= 1000;
    for (int o = 0; o < 8; ++o) hard.MutableAs<float>()[o * 16] = 1e-7f;
  }
  const absl::flat_hash_map<std::string, graph::Attribute> same = {
      {"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  const auto conv = [&](const std::string& name, ValueId value, Tensor weights) {
    const bool pads = weights.shape()[2] == 3;
    value = builder.Apply("Conv", name,
                          {value, builder.Constant(absl::StrCat(name, ".w"), std::move(weights))},
                          pads ? same : absl::flat_hash_map<std::string, graph::Attribute>());
    return builder.Apply("Relu", absl::StrCat(name, ".relu"), {value});
  };
  ValueId value = builder.Input("x", {kUnknownDim, 3, 4, 4});
  value = conv("first", value, RandomFloats({8, 3, 3, 3}, 1, 0.2f));
  value = conv("before", value, std::move(before));
  value = conv("hard", value, std::move(hard));
  value = conv("last", value, RandomFloats({8, 8, 3, 3}, 4, 0.12f));
  value = builder.Apply("Flatten", "flatten", {value});
  value =
      builder.Apply("MatMul", "classes",
                    {value, builder.Constant("classes.w", RandomFloats({128, kClasses}, 5, 0.1f))});
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

std::vector<std::vector<Tensor>> RandomSamples(size_t count, uint32_t seed) {
  std::vector<std::vector<Tensor>> samples;
  samples.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    samples.push_back({RandomFloats({1, 3, 4, 4}, seed + static_cast<uint32_t>(i))});
  }
  return samples;
}

CalibrationData Data(size_t count) {
  return {.samples = RandomSamples(count, 100), .source = "memory"};
}

// Labels are the float network's own decisions, so that it is always right.
CalibrationData Labelled(const graph::Graph& graph, size_t count) {
  CalibrationData data{.samples = RandomSamples(count, 5000), .source = "labelled"};
  kernels::WeightCache weights;
  const auto outputs = RunAll(graph, data.samples, weights);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  for (const std::vector<Tensor>& output : *outputs) {
    const auto scores = output[0].As<float>();
    data.labels.push_back(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }
  return data;
}

QuantizeOptions MinMax() { return {.activation_algorithms = {"min_max"}}; }

QuantizedModel Quantize(const GraphBuilder::Finished& model, const CalibrationData& data,
                        const QuantizeOptions& options, const CalibrationData& validation = {}) {
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, data, options, validation);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

std::vector<std::string> FloatLayers(const QuantizeReport& report) {
  std::vector<std::string> names;
  for (const LayerReport& layer : report.layers) {
    if (!IsInt8(layer.precision)) names.push_back(layer.node);
  }
  return names;
}

TEST(AccuracyGuard, MovesExactlyTheHardLayer) {
  const QuantizedModel quantized = Quantize(Classifier(true), Data(32), MinMax());
  EXPECT_THAT(FloatLayers(quantized.report), ElementsAre("hard"));
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kMet);
  EXPECT_GE(quantized.report.accuracy.values.sqnr_db, 20);
  EXPECT_EQ(quantized.report.accuracy.values.samples, 8u);
  EXPECT_THAT(quantized.report.warnings, IsEmpty());
}

TEST(AccuracyGuard, EveryMetricFindsIt) {
  const auto model = Classifier(true);
  const CalibrationData labelled = Labelled(model.graph, 200);
  for (const AccuracyMetric metric : {AccuracyMetric::kCosine, AccuracyMetric::kRelativeError,
                                      AccuracyMetric::kAgreement, AccuracyMetric::kTop1}) {
    QuantizeOptions options = MinMax();
    options.accuracy = DefaultTarget(metric);
    if (options.accuracy.is_drop) options.accuracy.value = 0.05;
    if (metric == AccuracyMetric::kAgreement) options.accuracy.value = 0.95;
    const QuantizedModel quantized = Quantize(model, Data(32), options, labelled);
    EXPECT_THAT(FloatLayers(quantized.report), ElementsAre("hard")) << Name(metric);
    EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kMet) << Name(metric);
    EXPECT_THAT(Describe(quantized.report.accuracy),
                AllOf(HasSubstr(std::string(Name(metric))), HasSubstr("200 samples of labelled")));
  }
}

TEST(AccuracyGuard, LabelsAreCompared) {
  const auto model = Classifier(false);
  CalibrationData wrong = Labelled(model.graph, 100);
  for (int64_t& label : wrong.labels) label = (label + 1) % kClasses;
  QuantizeOptions options = MinMax();
  options.accuracy = {AccuracyMetric::kTop1, 0.9};
  const QuantizedModel quantized = Quantize(model, Data(32), options, wrong);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kBestEffort);
  EXPECT_LT(quantized.report.accuracy.values.Get(AccuracyMetric::kTop1), 0.1);
}

TEST(AccuracyGuard, WithoutLabelsTop1IsUnverified) {
  QuantizeOptions options = MinMax();
  options.accuracy = DefaultTarget(AccuracyMetric::kTop1);
  const QuantizedModel quantized = Quantize(Classifier(false), Data(32), options);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kUnverified);
  EXPECT_THAT(quantized.report.accuracy.note, HasSubstr("labels"));
  EXPECT_THAT(FloatLayers(quantized.report), IsEmpty());
}

TEST(AccuracyGuard, FewSamplesAreNoProof) {
  const QuantizedModel quantized = Quantize(Classifier(false), Data(12), MinMax());
  EXPECT_EQ(quantized.report.held_out_samples, 3u);
  EXPECT_GT(quantized.report.output_sqnr_db, 20);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kUnverified);
  EXPECT_THAT(quantized.report.accuracy.note, HasSubstr("3 samples, 4 are needed"));
}

TEST(AccuracyGuard, NoDataIsNoProof) {
  QuantizeOptions options;
  options.accuracy = Sqnr(0);
  const QuantizedModel quantized = Quantize(Classifier(false), {}, options);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kUnverified);
}

TEST(AccuracyGuard, DynamicModeIsMeasuredOnValidationData) {
  const auto model = Classifier(false);
  QuantizeOptions options;
  const QuantizedModel met = Quantize(model, {}, options, Labelled(model.graph, 16));
  EXPECT_EQ(met.report.mode, "int8 dynamic");
  EXPECT_EQ(met.report.accuracy.verdict, AccuracyVerdict::kMet);
  options.accuracy = Sqnr(met.report.output_sqnr_db + 1);
  options.max_float_fraction = 1;
  const QuantizedModel more = Quantize(model, {}, options, Labelled(model.graph, 16));
  EXPECT_EQ(more.report.accuracy.verdict, AccuracyVerdict::kMet);
  EXPECT_FALSE(FloatLayers(more.report).empty());
}

TEST(AccuracyGuard, CalibrationSamplesDoNotMeasure) {
  // All of the validation data has calibrated: there is nothing to prove anything with.
  const CalibrationData data = Data(32);
  const QuantizedModel quantized = Quantize(Classifier(false), data, MinMax(), data);
  EXPECT_EQ(quantized.report.held_out_samples, 0u);
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kUnverified);
  EXPECT_THAT(quantized.report.warnings, ::testing::Contains(HasSubstr("32 samples of the")));
}

TEST(AccuracyGuard, MixedServesTheBestItFound) {
  QuantizeOptions options = MinMax();
  options.accuracy = Sqnr(95);
  const QuantizedModel quantized = Quantize(Classifier(true), Data(32), options);
  const AccuracyReport& accuracy = quantized.report.accuracy;
  EXPECT_EQ(accuracy.verdict, AccuracyVerdict::kBestEffort);
  EXPECT_GT(accuracy.values.sqnr_db, 20);
  EXPECT_GT(quantized.report.int8_mac_share, 0.6);
  EXPECT_THAT(quantized.report.warnings, ElementsAre(HasSubstr("below the target")));
}

TEST(AccuracyGuard, WarnMovesNothing) {
  QuantizeOptions options = MinMax();
  options.on_fail = OnFail::kWarn;
  const QuantizedModel quantized = Quantize(Classifier(true), Data(32), options);
  EXPECT_THAT(FloatLayers(quantized.report), IsEmpty());
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kBestEffort);
  EXPECT_LT(quantized.report.accuracy.values.sqnr_db, 20);
  EXPECT_THAT(quantized.report.warnings, ElementsAre(HasSubstr("on_fail: warn")));
}

TEST(AccuracyGuard, FloatServesTheFloatNetwork) {
  const auto model = Classifier(true);
  QuantizeOptions options = MinMax();
  options.accuracy = Sqnr(95);
  options.on_fail = OnFail::kFloat;
  const QuantizedModel quantized = Quantize(model, Data(32), options);
  EXPECT_EQ(quantized.report.mode, "fp32");
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kBestEffort);
  EXPECT_EQ(FloatLayers(quantized.report).size(), quantized.report.layers.size());
  EXPECT_EQ(quantized.report.int8_mac_share, 0);
  const auto samples = RandomSamples(4, 900);
  kernels::WeightCache a, b;
  EXPECT_EQ(
      CompareOutputs(*RunAll(model.graph, samples, a), *RunAll(quantized.graph, samples, b), {})
          .relative_error,
      0);
}

TEST(AccuracyGuard, ErrorRefusesAndNamesBothNumbers) {
  QuantizeOptions options = MinMax();
  options.accuracy = Sqnr(95);
  options.on_fail = OnFail::kError;
  const auto model = Classifier(true);
  const auto refused = QuantizeModel(model.graph, model.example_shapes, Data(32), options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr("measured sqnr "), HasSubstr("wanted sqnr at least 95.0 dB")));
  // A target that holds loads.
  options.accuracy = Sqnr(20);
  EXPECT_EQ(Quantize(model, Data(32), options).report.accuracy.verdict, AccuracyVerdict::kMet);
}

TEST(AccuracyGuard, RulesOfTheUserStand) {
  QuantizeOptions options = MinMax();
  options.layers = {{.match = "hard", .mode = Mode::kInt8}};
  options.max_float_fraction = 1;
  const QuantizedModel quantized = Quantize(Classifier(true), Data(32), options);
  for (const LayerReport& layer : quantized.report.layers) {
    EXPECT_TRUE(layer.node != "hard" || layer.precision == Precision::kInt8);
  }
  EXPECT_EQ(quantized.report.accuracy.verdict, AccuracyVerdict::kBestEffort);
}

TEST(AccuracyGuard, DecisionsMakeTheSameGraphWithoutMeasuring) {
  const auto model = Classifier(true);
  const QuantizedModel first = Quantize(model, Data(32), MinMax());
  QuantizeOptions options = MinMax();
  options.decided = DecisionsOf(first.report);
  int measurements = 0;
  options.progress = [&](absl::string_view stage, const std::string&) {
    measurements += stage == "search precisions" || stage == "choose ranges" ? 1 : 0;
  };
  const QuantizedModel second = Quantize(model, Data(32), options);
  EXPECT_EQ(measurements, 0);
  EXPECT_EQ(FloatLayers(second.report), FloatLayers(first.report));
  const auto samples = RandomSamples(4, 900);
  kernels::WeightCache a, b;
  EXPECT_EQ(CompareOutputs(*RunAll(first.graph, samples, a), *RunAll(second.graph, samples, b), {})
                .relative_error,
            0);
  options.decided->precisions.pop_back();
  EXPECT_EQ(QuantizeModel(model.graph, model.example_shapes, Data(32), options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AccuracyGuard, TheReportHasTheVerdict) {
  const QuantizedModel quantized = Quantize(Classifier(true), Data(32), MinMax());
  EXPECT_THAT(ReportText(quantized.report),
              AllOf(HasSubstr("met: sqnr "), HasSubstr("asked for sqnr at least 20.0 dB")));
  const std::string json = ReportJson(quantized.report);
  EXPECT_THAT(json, AllOf(HasSubstr("\"verdict\": \"met\""), HasSubstr("\"out_of_time\": false"),
                          HasSubstr("\"relative_error\"")));
}

}  // namespace
}  // namespace octet::runtime
