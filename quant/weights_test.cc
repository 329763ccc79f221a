#include "quant/weights.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/measures.h"

namespace octet::quant {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor Random(Shape shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(ElementCount(shape)));
  for (float& value : values) value = normal(random);
  return Tensor::Of<float>(std::move(shape), values);
}

// The same weights with each channel along `axis` multiplied by its own power of two.
Tensor WithUnevenChannels(const Tensor& tensor, int axis) {
  Tensor result = *Tensor::Allocate(DataType::kFloat32, tensor.shape());
  const ChannelLayout layout = *LayoutAlong(tensor.shape(), axis);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const auto channel = static_cast<int>(i / layout.inner % layout.channels);
    const auto index = static_cast<size_t>(i);
    result.MutableAs<float>()[index] = std::ldexp(tensor.As<float>()[index], channel % 7 - 3);
  }
  return result;
}

double SquaredErrorOfChannel(const Tensor& weights, const QuantizedWeights& quantized, int axis,
                             int64_t channel) {
  const Tensor back = *DequantizeTensor(quantized.codes.view(), quantized.params);
  const ChannelLayout layout = *LayoutAlong(weights.shape(), axis);
  double sum = 0;
  for (int64_t i = 0; i < weights.size(); ++i) {
    if (i / layout.inner % layout.channels != channel) continue;
    const auto index = static_cast<size_t>(i);
    const double error = static_cast<double>(weights.As<float>()[index]) - back.As<float>()[index];
    sum += error * error;
  }
  return sum;
}

TEST(QuantizeWeights, GivesEachOutputChannelItsOwnScale) {
  for (const int axis : {0, 1, 2, 3}) {
    const Tensor weights = WithUnevenChannels(Random({18, 21, 3, 5}, 31), axis);
    const QuantizedWeights result =
        *QuantizeWeights(weights.view(), {.estimator = "min_max", .axis = axis});
    EXPECT_EQ(result.params.axis, axis);
    EXPECT_EQ(result.params.scales.size(), static_cast<size_t>(weights.shape()[axis]));
    EXPECT_THAT(result.params.zero_points, Each(0));
    const Tensor back = *DequantizeTensor(result.codes.view(), result.params);
    EXPECT_GT(Sqnr(weights.As<float>(), back.As<float>()), 38);
    EXPECT_NEAR(result.sqnr_db, Sqnr(weights.As<float>(), back.As<float>()), 1e-3);
    for (const float sqnr_db : result.channel_sqnr_db) EXPECT_GT(sqnr_db, 38);
    // min_max reaches the end of the grid in every channel, and nothing goes beyond.
    const Tensor again = *QuantizeTensor(weights.view(), result.params, kSymmetricInt8);
    EXPECT_TRUE(std::ranges::equal(again.As<int8_t>(), result.codes.As<int8_t>()));
  }
}

TEST(QuantizeWeights, ComputesSmallCasesByHand) {
  const Tensor weights = Tensor::Of<float>({2, 2}, {127, -1, 2, 254});
  const QuantizedWeights rows =
      *QuantizeWeights(weights.view(), {.estimator = "min_max", .axis = 0});
  EXPECT_THAT(rows.params.scales, ElementsAre(1, 2));
  EXPECT_THAT(rows.codes.As<int8_t>(), ElementsAre(127, -1, 1, 127));
  EXPECT_EQ(rows.sqnr_db, kHighestSqnr);
  const QuantizedWeights columns =
      *QuantizeWeights(weights.view(), {.estimator = "min_max", .axis = 1});
  EXPECT_THAT(columns.params.scales, ElementsAre(1, 2));
  EXPECT_THAT(columns.codes.As<int8_t>(), ElementsAre(127, 0, 2, 127));  // -0.5 to even
  const QuantizedWeights whole = *QuantizeWeights(weights.view(), {.estimator = "min_max"});
  EXPECT_THAT(whole.params.scales, ElementsAre(2));
  EXPECT_EQ(whole.params.axis, std::nullopt);
  EXPECT_THAT(whole.codes.As<int8_t>(), ElementsAre(64, 0, 1, 127));  // 63.5 to even
}

TEST(QuantizeWeights, KeepsToTheRangeOfTheGrid) {
  const Tensor weights = Random({16, 200}, 32);
  for (const Grid& grid : {kSymmetricInt8, kSymmetricInt7}) {
    const QuantizedWeights result = *QuantizeWeights(weights.view(), {.grid = grid, .axis = 0});
    const auto [min, max] = std::ranges::minmax(result.codes.As<int8_t>());
    EXPECT_GE(min, grid.first);
    EXPECT_LE(max, grid.last);
    EXPECT_GE(max - min, grid.steps() * 9 / 10);
  }
}

TEST(QuantizeWeights, LeastSquaresPerChannelIsNoWorseThanPerTensorInAnyChannel) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    const int axis = static_cast<int>(seed % 2);
    Tensor weights = Random({24, 16}, seed);
    if (seed % 3 == 0) weights = WithUnevenChannels(weights, axis);
    const QuantizedWeights by_channel = *QuantizeWeights(weights.view(), {.axis = axis});
    const QuantizedWeights whole = *QuantizeWeights(weights.view(), {});
    for (int64_t channel = 0; channel < weights.shape()[axis]; ++channel) {
      EXPECT_LE(SquaredErrorOfChannel(weights, by_channel, axis, channel),
                SquaredErrorOfChannel(weights, whole, axis, channel) * (1 + 2e-5));
    }
    EXPECT_GE(by_channel.sqnr_db, whole.sqnr_db);
  }
}

TEST(QuantizeWeights, LeastSquaresIsNoWorseThanAnyOtherEstimatorInAnyChannel) {
  const Tensor weights = WithUnevenChannels(Random({20, 1200}, 33), 0);
  const QuantizedWeights best = *QuantizeWeights(weights.view(), {.axis = 0});
  for (const RangeEstimator& estimator : RangeEstimators()) {
    const QuantizedWeights other =
        *QuantizeWeights(weights.view(), {.estimator = estimator.name, .axis = 0});
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_GE(best.channel_sqnr_db[i], other.channel_sqnr_db[i] - 1e-3) << estimator.name;
    }
  }
}

TEST(QuantizeWeights, TakesOneScaleWhereChannelsGainLittle) {
  Tensor even = Random({16, 1000}, 39);
  for (float& value : even.MutableAs<float>()) value = std::sin(10 * value);  // all within 1
  const Tensor uneven = WithUnevenChannels(even, 0);
  const WeightOptions by_channel{.axis = 0};
  WeightOptions mixed = by_channel;
  mixed.least_channel_gain_db = 0.5;
  for (const Tensor* weights : std::initializer_list<const Tensor*>{&even, &uneven}) {
    const QuantizedWeights result = *QuantizeWeights(weights->view(), mixed);
    const QuantizedWeights fine = *QuantizeWeights(weights->view(), by_channel);
    const QuantizedWeights coarse = *QuantizeWeights(weights->view(), {});
    ASSERT_TRUE(result.channel_gain_db.has_value());
    EXPECT_DOUBLE_EQ(*result.channel_gain_db, fine.sqnr_db - coarse.sqnr_db);
    const QuantizedWeights& expected = weights == &even ? coarse : fine;
    EXPECT_EQ(result.params, expected.params);
    EXPECT_TRUE(std::ranges::equal(result.codes.As<int8_t>(), expected.codes.As<int8_t>()));
  }
  EXPECT_FALSE(QuantizeWeights(even.view(), by_channel)->channel_gain_db.has_value());
}

TEST(QuantizeWeights, TakesGridsOfFewerBits) {
  const Tensor weights = Random({12, 300}, 40);
  const QuantizedWeights result =
      *QuantizeWeights(weights.view(), {.grid = kSymmetricInt4, .axis = 0});
  for (const int8_t code : result.codes.As<int8_t>()) {
    EXPECT_GE(code, -7);
    EXPECT_LE(code, 7);
  }
  EXPECT_NEAR(result.sqnr_db, 18.8, 1);  // of normal values, by the best symmetric 4-bit grid
}

TEST(QuantizeWeights, ReportsDeadChannelsAndKeepsTheirScalesWithinReason) {
  Tensor weights = Random({4, 50}, 34);
  const std::span<float> values = weights.MutableAs<float>();
  for (size_t i = 50; i < 100; ++i) values[i] = 0;
  for (size_t i = 100; i < 150; ++i) values[i] *= 1e-12f;
  const QuantizedWeights result = *QuantizeWeights(weights.view(), {.axis = 0});
  EXPECT_THAT(result.dead_channels, ElementsAre(1, 2));
  EXPECT_EQ(result.params.scales[1], 1);
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  EXPECT_FLOAT_EQ(result.params.scales[2], largest * 0x1p-20f / 127);
  EXPECT_THAT(result.codes.As<int8_t>().subspan(50, 100), Each(0));
  EXPECT_EQ(result.channel_sqnr_db[1], static_cast<float>(kHighestSqnr));
  EXPECT_GT(result.channel_sqnr_db[3], 35);
}

TEST(QuantizeWeights, TakesATensorOfZeroes) {
  const Tensor zeros = *Tensor::Allocate(DataType::kFloat32, {3, 4});
  for (const std::optional<int> axis : {std::optional<int>(), std::optional<int>(1)}) {
    const QuantizedWeights result = *QuantizeWeights(zeros.view(), {.axis = axis});
    EXPECT_THAT(result.params.scales, Each(1));
    EXPECT_EQ(result.dead_channels.size(), result.params.scales.size());
    EXPECT_EQ(result.sqnr_db, kHighestSqnr);
  }
}

TEST(QuantizeWeights, NamesTheIndexOfWhatIsNotFinite) {
  Tensor weights = Random({3, 4, 5}, 35);
  weights.MutableAs<float>()[2 * 20 + 1 * 5 + 4] = std::numeric_limits<float>::quiet_NaN();
  for (const std::optional<int> axis : {std::optional<int>(), std::optional<int>(1)}) {
    const absl::Status status = QuantizeWeights(weights.view(), {.axis = axis}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("nan at index [2,1,4]"));
    const QuantizedWeights zeroed =
        *QuantizeWeights(weights.view(), {.axis = axis, .zero_non_finite = true});
    EXPECT_EQ(zeroed.zeroed_values, 1);
    EXPECT_EQ(zeroed.codes.As<int8_t>()[2 * 20 + 1 * 5 + 4], 0);
    EXPECT_GT(zeroed.sqnr_db, 30);
  }
}

TEST(QuantizeWeights, RefusesWhatItCannotQuantize) {
  const Tensor weights = Random({2, 3}, 36);
  const auto code = [](const Tensor& tensor, const WeightOptions& options) {
    return QuantizeWeights(tensor.view(), options).status().code();
  };
  EXPECT_EQ(code(weights, {.axis = 2}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, {.axis = -1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, {.grid = kAsymmetricUint8}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, {.estimator = "magic"}), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(Tensor::Of<int8_t>({1}, {1}), {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*Tensor::Allocate(DataType::kFloat32, {0, 3}), {}),
            absl::StatusCode::kInvalidArgument);
}

TEST(QuantizeWeights, CountsChannelsWithTooFewValues) {
  const Tensor weights = Random({5, 7}, 37);
  EXPECT_EQ(
      QuantizeWeights(weights.view(), {.estimator = "percentile", .axis = 0})->fallback_channels,
      5);
  EXPECT_EQ(QuantizeWeights(weights.view(), {.axis = 0})->fallback_channels, 0);
}

TEST(QuantizeWeights, IsDeterministicAndTakesScalarsAndVectors) {
  const Tensor weights = Random({64, 33}, 38);
  const QuantizedWeights first = *QuantizeWeights(weights.view(), {.axis = 1});
  const QuantizedWeights second = *QuantizeWeights(weights.view(), {.axis = 1});
  EXPECT_EQ(first.params, second.params);
  EXPECT_TRUE(std::ranges::equal(first.codes.As<int8_t>(), second.codes.As<int8_t>()));
  Tensor scalar = *Tensor::Allocate(DataType::kFloat32, Shape());
  scalar.MutableAs<float>()[0] = 2.5f;
  EXPECT_EQ(QuantizeWeights(scalar.view(), {})->codes.As<int8_t>()[0], 127);
  const Tensor vector = Tensor::Of<float>({3}, {1, -2, 4});
  EXPECT_THAT(QuantizeWeights(vector.view(), {.axis = 0})->codes.As<int8_t>(),
              ElementsAre(127, -127, 127));
}

}  // namespace
}  // namespace octet::quant
