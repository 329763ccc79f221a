#include "runtime/collect_details.h"

#include <cmath>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/histogram.h"
#include "quant/range_estimator.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;
using testing::GraphBuilder;
using ::testing::IsEmpty;
using testing::RandomFloats;

uint64_t Total(const FoldedHistogram& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(), uint64_t{0});
}

TEST(Fold, KeepsEveryValueInItsPlace) {
  quant::Histogram histogram;
  const Tensor values = RandomFloats({5000}, 1, 1.0f);
  histogram.AddSample(values.As<float>());
  histogram.AddSample(std::vector<float>{0, 0, 0, -7.5f, 11.25f});
  const FoldedHistogram folded = Fold(histogram);
  EXPECT_LE(folded.counts.size(), FoldedHistogram::kMostBins);
  EXPECT_GT(folded.counts.size(), FoldedHistogram::kMostBins / 4);
  EXPECT_EQ(Total(folded), 5002u);
  EXPECT_EQ(folded.zeros, 3u);
  EXPECT_LE(folded.low, -7.5);
  EXPECT_GT(folded.low + static_cast<double>(folded.counts.size()) * folded.bin_width, 11.25);
  EXPECT_GE(folded.counts.front(), 1u);
  EXPECT_GE(folded.counts.back(), 1u);
  // Counted here.
  size_t in_first = 0;
  for (const float value : values.As<float>()) in_first += value < folded.low + folded.bin_width;
  EXPECT_EQ(folded.counts.front(), in_first + 1);
}

TEST(Fold, OfNothing) { EXPECT_THAT(Fold(quant::Histogram()).counts, IsEmpty()); }

TEST(HistogramOf, CountsFiniteValues) {
  const FoldedHistogram histogram = HistogramOf(std::vector<float>{-1, 3, 3, std::nanf(""), 1});
  EXPECT_EQ(histogram.low, -1);
  EXPECT_EQ(histogram.counts.size(), FoldedHistogram::kMostBins);
  EXPECT_EQ(histogram.counts.front(), 1u);
  EXPECT_EQ(histogram.counts[64], 1u);
  EXPECT_EQ(histogram.counts.back(), 2u);
  EXPECT_THAT(HistogramOf(std::vector<float>{2, 2}).counts, ElementsAre(2u));
  EXPECT_THAT(HistogramOf({}).counts, IsEmpty());
}

TEST(ClippedShare, CountsWhatIsBeyondTheOuterCodes) {
  quant::Histogram histogram;
  std::vector<float> values(100, 1.0f);
  values[0] = 50;
  values[1] = values[2] = -50;
  histogram.AddSample(values);
  const quant::Grid& grid = quant::kAsymmetricUint8;
  EXPECT_DOUBLE_EQ(ClippedShare(histogram, {-1, 2}, grid), 0.03);
  EXPECT_DOUBLE_EQ(ClippedShare(histogram, {-51, 2}, grid), 0.01);
  EXPECT_DOUBLE_EQ(ClippedShare(histogram, {-51, 51}, grid), 0);
}

// Two products of 32 inputs; the second reads what a ReLU leaves.
QuantizedModel Quantized(bool with_data, bool details) {
  GraphBuilder builder;
  graph::ValueId value = builder.Input("x", {kUnknownDim, 32});
  const graph::ValueId first = builder.Constant("a.w", RandomFloats({32, 48}, 1, 0.25f));
  value = builder.Apply("MatMul", "a", {value, first});
  value = builder.Apply("Relu", "relu", {value});
  const graph::ValueId second = builder.Constant("b.w", RandomFloats({48, 16}, 2, 0.25f));
  builder.Output(builder.Apply("MatMul", "b", {value, second}), "y");
  const auto model = builder.Finish(/*optimize=*/true);
  CalibrationData data{.source = "memory"};
  for (uint32_t i = 0; with_data && i < 16; ++i) {
    data.samples.push_back({RandomFloats({1, 32}, 100 + i)});
  }
  QuantizeOptions options;
  options.details = details;
  options.compensation = QuantizeOptions::Compensation::kNone;  // weights as the algorithm has them
  absl::StatusOr<QuantizedModel> quantized =
      QuantizeModel(model.graph, model.example_shapes, data, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

TEST(CollectDetails, OnlyWhenAskedFor) {
  EXPECT_THAT(Quantized(true, false).report.details, IsEmpty());
}

TEST(CollectDetails, EveryAlgorithmOnEveryLayer) {
  const QuantizeReport report = Quantized(true, true).report;
  ASSERT_EQ(report.details.size(), 2u);
  const size_t algorithms = quant::RangeEstimators().size();
  for (size_t i = 0; i < 2; ++i) {
    const LayerDetails& layer = report.details[i];
    EXPECT_EQ(layer.weights.scales, i == 0 ? 48u : 16u);
    EXPECT_TRUE(layer.weights.per_channel);
    EXPECT_EQ(Total(layer.weights.histogram), i == 0 ? 32u * 48 : 48u * 16);
    ASSERT_EQ(layer.weights.algorithms.size(), algorithms - 1);
    double best = 0;
    for (const WeightAlgorithm& algorithm : layer.weights.algorithms) {
      ASSERT_TRUE(algorithm.per_tensor_sqnr_db && algorithm.per_channel_sqnr_db);
      best = std::max(best, *algorithm.per_channel_sqnr_db);
      if (algorithm.name == "least_squares") {
        EXPECT_EQ(*algorithm.per_channel_sqnr_db, report.layers[i].weight_sqnr_db);
        EXPECT_GE(*algorithm.per_channel_sqnr_db, *algorithm.per_tensor_sqnr_db);
      }
    }
    EXPECT_EQ(best, report.layers[i].weight_sqnr_db);
    ASSERT_TRUE(layer.activations.has_value());
    ASSERT_EQ(layer.activations->algorithms.size(), algorithms);
    ASSERT_TRUE(layer.activations->served.has_value());
    EXPECT_EQ(layer.activations->values, report.calibration_samples * (i == 0 ? 32 : 48));
    EXPECT_EQ(Total(layer.activations->histogram) + layer.activations->histogram.zeros,
              layer.activations->values);
  }
  // After the ReLU nothing is negative, and half is zero.
  const ActivationDetails& second = *report.details[1].activations;
  EXPECT_EQ(second.served->affine.zero_point, 0);
  EXPECT_EQ(second.observed_min, 0);
  EXPECT_GT(second.histogram.zeros, second.values / 4);
}

// Measured, but not chosen.
TEST(CollectDetails, WhatIsOnlyMeasuredCannotWin) {
  const auto model = [] {
    GraphBuilder builder;
    const graph::ValueId weights = builder.Constant("w", RandomFloats({32, 48}, 1, 0.25f));
    builder.Output(builder.Apply("MatMul", "a", {builder.Input("x", {kUnknownDim, 32}), weights}),
                   "y");
    return builder.Finish(/*optimize=*/true);
  }();
  CalibrationData data{.source = "memory"};
  for (uint32_t i = 0; i < 16; ++i) data.samples.push_back({RandomFloats({1, 32}, 100 + i)});
  const auto quantized = QuantizeModel(
      model.graph, model.example_shapes, data,
      {.activation_algorithms = {"entropy"}, .also_measured = {"least_squares", "min_max"}});
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  EXPECT_EQ(quantized->report.activation_algorithm, "entropy");
  ASSERT_EQ(quantized->report.attempts.size(), 3u);
  EXPECT_EQ(quantized->report.attempts[1].algorithm, "least_squares");
  EXPECT_LT(quantized->report.attempts[0].output_sqnr_db,
            quantized->report.attempts[1].output_sqnr_db);
}

// The grid that is told is the one that serves: its error on the histogram is that of the algorithm
// that won.
TEST(CollectDetails, TheServedGridIsTheWinners) {
  const QuantizeReport report = Quantized(true, true).report;
  for (const LayerDetails& layer : report.details) {
    for (const ActivationAlgorithm& algorithm : layer.activations->algorithms) {
      if (algorithm.name != report.activation_algorithm) continue;
      EXPECT_NEAR(algorithm.sqnr_db, layer.activations->served->sqnr_db, 0.1);
      EXPECT_NEAR(algorithm.range.high, layer.activations->served->range.high,
                  layer.activations->served->affine.scale);
    }
  }
}

TEST(CollectDetails, NothingIsKnownOfActivationsWithoutData) {
  const QuantizeReport report = Quantized(false, true).report;
  ASSERT_EQ(report.details.size(), 2u);
  EXPECT_FALSE(report.details[0].activations.has_value());
  EXPECT_GT(Total(report.details[0].weights.histogram), 0u);
}

}  // namespace
}  // namespace octet::runtime
