#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "gtest/gtest.h"
#include "quant/histogram.h"

namespace octet::quant {
namespace {

std::vector<float> Values(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(seed % 3 == 0 ? 0 : 50, std::ldexp(1.0f, seed % 40 - 20));
  std::vector<float> values(random() % 900);
  for (float& value : values) value = random() % 10 == 0 ? 0 : normal(random);
  if (seed % 5 == 0) values.push_back(std::numeric_limits<float>::quiet_NaN());
  if (seed % 7 == 0) values.push_back(-std::numeric_limits<float>::infinity());
  return values;
}

Histogram OfSamples(uint32_t first, uint32_t count) {
  Histogram histogram;
  for (uint32_t i = 0; i < count; ++i) histogram.AddSample(Values(first + i));
  return histogram;
}

TEST(HistogramState, ComesBackBitForBit) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const Histogram histogram = OfSamples(seed, seed % 4);
    const auto copy = Histogram::FromState(histogram.State());
    ASSERT_TRUE(copy.ok()) << copy.status();
    EXPECT_EQ(*copy, histogram) << seed;
    EXPECT_EQ(copy->Mean(), histogram.Mean());
  }
  const Histogram many = OfSamples(0, Histogram::kKeptSamples + 200);
  EXPECT_EQ(*Histogram::FromState(many.State()), many);
}

TEST(HistogramState, GoesOnAsIfItHadNeverBeenKept) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Histogram whole = OfSamples(seed, 6);
    Histogram kept = *Histogram::FromState(OfSamples(seed, 3).State());
    Histogram rest = *Histogram::FromState(OfSamples(seed + 3, 3).State());
    Histogram other_way = rest;
    other_way.Merge(kept);
    kept.Merge(rest);
    EXPECT_EQ(kept, whole) << seed;
    EXPECT_EQ(other_way, whole) << seed;
  }
}

TEST(HistogramState, RefusesWhatNoHistogramHas) {
  const HistogramState good = OfSamples(1, 3).State();
  ASSERT_TRUE(Histogram::FromState(good).ok());
  ASSERT_GE(good.bins.size(), 2u);
  const std::vector<std::function<void(HistogramState&)>> damages = {
      [](HistogramState& state) { std::swap(state.min, state.max); },
      [](HistogramState& state) { state.max = std::numeric_limits<float>::infinity(); },
      [](HistogramState& state) { state.min = std::numeric_limits<float>::quiet_NaN(); },
      [](HistogramState& state) { state.bins.back() = Histogram::kBins; },
      [](HistogramState& state) { std::swap(state.bins[0], state.bins[1]); },
      [](HistogramState& state) { state.bins.pop_back(); },
      [](HistogramState& state) { state.counts[0] = 0; },
      [](HistogramState& state) { state.counts[0] = ~uint64_t{0}; },
      [](HistogramState& state) { state.zeros = ~uint64_t{0}; },
      [](HistogramState& state) { state.samples = 1; },
      [](HistogramState& state) { state.lows.clear(); },
      [](HistogramState& state) { state.highs[0] = state.max * 2; },
      [](HistogramState& state) { state.lows[0] = state.min - 1; },
      [](HistogramState& state) { state.sum.pop_back(); },
      [](HistogramState& state) { state.sum[3] = -1; },
      [](HistogramState& state) { state.sum_squares.back() = 7; },
      [](HistogramState& state) { state.sum_squares[66] = 1 << 30; }};
  for (size_t i = 0; i < damages.size(); ++i) {
    HistogramState state = good;
    damages[i](state);
    EXPECT_EQ(Histogram::FromState(state).status().code(), absl::StatusCode::kInvalidArgument) << i;
  }
  HistogramState empty = Histogram().State();
  empty.max = 1;
  EXPECT_FALSE(Histogram::FromState(empty).ok());
}

}  // namespace
}  // namespace octet::quant
