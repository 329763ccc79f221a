// Cross-layer equalization, SmoothQuant and bias correction: that they leave what a float network
// computes alone, and make it easier to quantize.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/bias_correction.h"
#include "quant/cross_layer.h"
#include "quant/smooth_quant.h"
#include "quant/testing/normal_values.h"

namespace octet::quant {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;
using ::testing::Pointwise;

// rows x columns times a vector, plus a bias.
std::vector<float> Linear(std::span<const float> weights, std::span<const float> bias,
                          const std::vector<float>& input) {
  const size_t columns = input.size();
  std::vector<float> output;
  for (size_t row = 0; row < weights.size() / columns; ++row) {
    double sum = bias.empty() ? 0 : bias[row];
    for (size_t i = 0; i < columns; ++i) {
      sum += static_cast<double>(weights[row * columns + i]) * input[i];
    }
    output.push_back(static_cast<float>(sum));
  }
  return output;
}

std::vector<float> Rectified(std::vector<float> values) {
  for (float& value : values) value = std::max(value, 0.0f);
  return values;
}

// --- SmoothQuant ---------------------------------------------------------------------------------

TEST(SmoothQuant, SharesTheRangeByAlpha) {
  const std::vector<float> activations = {16, 4, 0, 1};
  const std::vector<float> weights = {4, 0.25f, 1, 0};
  EXPECT_THAT(*SmoothingFactors(activations, weights, 0.5), ElementsAre(2, 4, 1, 1));
  EXPECT_THAT(*SmoothingFactors(activations, weights, 1), ElementsAre(16, 4, 1, 1));
  EXPECT_THAT(*SmoothingFactors(activations, weights, 0), ElementsAre(0.25f, 4, 1, 1));
  EXPECT_THAT(*SmoothingFactors(std::vector<float>{1e30f, 1e-30f}, std::vector<float>{1, 1}, 1),
              ElementsAre(1e5f, 1e-5f));
}

TEST(SmoothQuant, LeavesTheLayerAsItIsAndItsInputWithoutOutliers) {
  WeightRows weights{5, 8, Normal(40, 61)};
  std::vector<float> input = Normal(8, 62);
  input[3] *= 80;
  const std::vector<float> expected = Linear(weights.values, {}, input);
  std::vector<float> magnitudes;
  magnitudes.reserve(input.size());
  for (const float value : input) magnitudes.push_back(std::abs(value));
  const std::vector<float> factors = *SmoothingFactors(magnitudes, ColumnMagnitudes(weights), 0.8);
  ASSERT_TRUE(ScaleColumns(factors, weights).ok());
  for (size_t i = 0; i < 8; ++i) input[i] /= factors[i];
  EXPECT_THAT(Linear(weights.values, {}, input), Pointwise(FloatNear(1e-4f), expected));
  const auto spread = [](const std::vector<float>& values) {
    double sum = 0;
    float largest = 0;
    for (const float value : values) {
      sum += static_cast<double>(value) * value;
      largest = std::max(largest, std::abs(value));
    }
    return largest / std::sqrt(sum / static_cast<double>(values.size()));
  };
  EXPECT_LT(spread(input), 2.3);
  EXPECT_GT(spread(magnitudes), 2.8);
}

TEST(SmoothQuant, TakesTheLargestOfTheLayersThatShareAnInput) {
  std::vector<float> magnitudes = ColumnMagnitudes({2, 2, {1, -5, -3, 2}});
  EXPECT_THAT(magnitudes, ElementsAre(3, 5));
  ASSERT_TRUE(WidenMagnitudes(std::vector<float>{4, 1}, magnitudes).ok());
  EXPECT_THAT(magnitudes, ElementsAre(4, 5));
  EXPECT_FALSE(WidenMagnitudes(std::vector<float>{4}, magnitudes).ok());
}

TEST(SmoothQuant, RefusesWhatMakesNoSense) {
  const std::vector<float> two = {1, 2};
  EXPECT_FALSE(SmoothingFactors(two, std::vector<float>{1}, 0.5).ok());
  for (const double alpha : {-0.1, 1.1, std::nan("")}) {
    EXPECT_FALSE(SmoothingFactors(two, two, alpha).ok());
  }
  for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    EXPECT_FALSE(SmoothingFactors(two, std::vector<float>{1, bad}, 0.5).ok());
    EXPECT_FALSE(SmoothingFactors(std::vector<float>{bad, 1}, two, 0.5).ok());
  }
  WeightRows weights{1, 3, {1, 2, 3}};
  EXPECT_FALSE(ScaleColumns(two, weights).ok());
}

// --- Cross-layer equalization --------------------------------------------------------------------

struct ThreeLayers {
  // 6 -> 7 -> 5 -> 4, rows are output channels.
  std::vector<float> w1 = Normal(42, 63), w2 = Normal(35, 64), w3 = Normal(20, 65);
  std::vector<float> b1 = Normal(7, 66), b2 = Normal(5, 67);

  ThreeLayers() {
    for (size_t i = 0; i < w1.size(); ++i) w1[i] = std::ldexp(w1[i], static_cast<int>(i / 6) - 3);
    for (size_t i = 0; i < w2.size(); ++i) w2[i] = std::ldexp(w2[i], static_cast<int>(i / 7) - 2);
  }
  std::vector<LayerPair> Pairs() {
    return {{{w1, {1, 7, 6}}, b1, {w2, {5, 7, 1}}}, {{w2, {1, 5, 7}}, b2, {w3, {4, 5, 1}}}};
  }
  std::vector<float> Run(const std::vector<float>& input) const {
    return Linear(w3, {}, Rectified(Linear(w2, b2, Rectified(Linear(w1, b1, input)))));
  }
};

TEST(CrossLayer, LeavesTheNetworkAsItIsAndChannelsAlike) {
  ThreeLayers layers;
  const std::vector<float> input = Normal(6, 68);
  const std::vector<float> expected = layers.Run(input);
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  const EqualizeResult result = *EqualizeLayers(layers.Pairs(), {});
  EXPECT_THAT(layers.Run(input), Pointwise(FloatNear(1e-5f * largest), expected));
  EXPECT_GT(result.sweeps, 1);
  EXPECT_LE(result.sweeps, 20);
  for (const LayerPair& pair : layers.Pairs()) {
    const std::vector<float> first = ChannelMagnitudes(pair.first);
    const std::vector<float> second = ChannelMagnitudes(pair.second);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(second[i] / first[i], 1, 0.02);
  }
}

TEST(CrossLayer, TakesDepthwiseLayers) {
  std::vector<float> first = {1, 2, 8, 8};    // 2 channels of 2 inputs
  std::vector<float> second = {8, 1, 2, -2};  // depthwise, 2 channels of 2 positions
  std::vector<float> bias = {4, 4};
  const LayerPair pair{{first, {1, 2, 2}}, bias, {second, {1, 2, 2}}};
  const EqualizeResult result = *EqualizeLayers(std::vector<LayerPair>{pair}, {});
  EXPECT_THAT(result.factors[0], ElementsAre(0.5f, 2));
  EXPECT_THAT(first, ElementsAre(2, 4, 4, 4));
  EXPECT_THAT(bias, ElementsAre(8, 2));
  EXPECT_THAT(second, ElementsAre(4, 0.5f, 4, -4));
}

TEST(CrossLayer, LeavesDeadChannelsAloneAndFactorsInReason) {
  std::vector<float> first = {0, 1, 1e9f};
  std::vector<float> second = {1, 0, 1e-9f};
  const LayerPair pair{{first, {1, 3, 1}}, {}, {second, {1, 3, 1}}};
  const EqualizeResult result = *EqualizeLayers(std::vector<LayerPair>{pair}, {});
  EXPECT_THAT(result.factors[0], ElementsAre(1, 1, 256));
  EXPECT_LE(result.sweeps, 2);
  EXPECT_THAT(first, ElementsAre(0, 1, FloatEq(1e9f / 256)));
}

TEST(CrossLayer, RefusesWhatDoesNotFit) {
  std::vector<float> six = Normal(6, 69);
  std::vector<float> bad = six;
  bad[2] = std::nanf("");
  std::vector<float> bias(2);
  const auto ok = [](const LayerPair& pair) {
    return EqualizeLayers(std::vector<LayerPair>{pair}, {}).ok();
  };
  const std::vector<float> before = six;
  EXPECT_FALSE(ok({{six, {1, 3, 2}}, {}, {six, {1, 2, 3}}}));
  EXPECT_FALSE(ok({{six, {1, 3, 3}}, {}, {six, {1, 3, 2}}}));
  EXPECT_FALSE(ok({{six, {1, 3, 2}}, bias, {six, {1, 3, 2}}}));
  EXPECT_FALSE(ok({{six, {1, 3, 2}}, {}, {bad, {1, 3, 2}}}));
  EXPECT_FALSE(ok({{six, {-1, -3, 2}}, {}, {six, {1, 3, 2}}}));
  EXPECT_EQ(six, before);
}

// --- Bias correction -----------------------------------------------------------------------------

TEST(BiasCorrection, RestoresTheMeanOfTheOutputs) {
  const WeightRows weights{4, 6, Normal(24, 70)};
  std::vector<float> quantized = weights.values;
  for (float& value : quantized) value = std::round(value * 2) / 2;
  const std::vector<float> mean = Normal(6, 71);
  std::vector<float> quantized_mean = mean;
  for (float& value : quantized_mean) value += 0.05f;
  const std::vector<float> bias = Normal(4, 72);
  const BiasCorrection result = *CorrectBias({.weights = weights,
                                              .quantized = quantized,
                                              .mean = mean,
                                              .quantized_mean = quantized_mean,
                                              .bias = bias});
  EXPECT_THAT(Linear(quantized, result.bias, quantized_mean),
              Pointwise(FloatNear(1e-5f), Linear(weights.values, bias, mean)));
  EXPECT_GT(result.largest_ratio, 0);
}

TEST(BiasCorrection, ChangesNothingWithoutError) {
  const WeightRows weights{3, 4, Normal(12, 73)};
  const std::vector<float> mean = Normal(4, 74);
  const BiasCorrection result = *CorrectBias({.weights = weights,
                                              .quantized = weights.values,
                                              .mean = mean,
                                              .quantized_mean = mean,
                                              .bias = {}});
  EXPECT_THAT(result.bias, Each(0));
  EXPECT_TRUE(result.trusted());
}

TEST(BiasCorrection, KnowsGroupsAndPositionsOfConvolutions) {
  // 2 groups of 1 row, 2 input channels each, 3 positions.
  const WeightRows weights{2, 6, {1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4}};
  const std::vector<float> quantized(12);
  const std::vector<float> mean = {1, 10, 100, 1000};
  const BiasCorrection result = *CorrectBias({.weights = weights,
                                              .quantized = quantized,
                                              .mean = mean,
                                              .quantized_mean = mean,
                                              .bias = {},
                                              .groups = 2,
                                              .positions = 3});
  EXPECT_THAT(result.bias, ElementsAre(3 * 1 + 6 * 10, 9 * 100 + 12 * 1000));
}

TEST(BiasCorrection, DistrustsWhatOutweighsTheBias) {
  const WeightRows weights{1, 1, {1}};
  const std::vector<float> quantized = {0};
  const std::vector<float> mean = {5};
  const std::vector<float> bias = {1};
  const auto trusted = [&](const std::vector<float>& of) {
    return CorrectBias({.weights = weights,
                        .quantized = quantized,
                        .mean = of,
                        .quantized_mean = of,
                        .bias = bias})
        ->trusted();
  };
  EXPECT_FALSE(trusted(mean));
  EXPECT_TRUE(trusted({3}));
}

TEST(BiasCorrection, RefusesWhatDoesNotFit) {
  const WeightRows weights{2, 4, Normal(8, 75)};
  const std::vector<float> four = Normal(4, 76);
  std::vector<float> bad = four;
  bad[1] = std::nanf("");
  const BiasCorrectionInputs good{.weights = weights,
                                  .quantized = weights.values,
                                  .mean = four,
                                  .quantized_mean = four,
                                  .bias = {}};
  ASSERT_TRUE(CorrectBias(good).ok());
  const auto refused = [&](auto change) {
    BiasCorrectionInputs inputs = good;
    change(inputs);
    return CorrectBias(inputs).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.mean = bad; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.quantized = four; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.bias = four; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.positions = 3; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.positions = 2; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.groups = 0; }));
  EXPECT_TRUE(refused([&](auto& inputs) { inputs.groups = 3; }));
}

}  // namespace
}  // namespace octet::quant
