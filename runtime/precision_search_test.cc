#include "runtime/precision_search.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using quant::Precision;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Precision kInt8 = Precision::kInt8;
constexpr Precision kDynamic = Precision::kInt8Dynamic;
constexpr Precision kBFloat16 = Precision::kBFloat16;
constexpr Precision kFloat = Precision::kFloat32;

// A network whose layers make this noise each, in int8; in dynamic int8 a tenth of it, in
// bfloat16 one in ten thousand.
class FakeNetwork {
 public:
  explicit FakeNetwork(std::vector<double> noise) : noise_(std::move(noise)) {
    for (size_t i = 0; i < noise_.size(); ++i) {
      layers_.push_back({"layer", 1, {kInt8, kDynamic, kFloat}});
    }
  }

  AccuracyValues Values(const std::vector<Precision>& precisions) const {
    double noise = 0;
    for (size_t i = 0; i < precisions.size(); ++i) {
      noise += noise_[i] * (precisions[i] == kInt8       ? 1
                            : precisions[i] == kDynamic  ? 0.1
                            : precisions[i] == kBFloat16 ? 1e-4
                                                         : 0);
    }
    return {.samples = 8,
            .sqnr_db = noise == 0 ? 99 : -10 * std::log10(noise),
            .relative_error = std::sqrt(noise)};
  }

  SearchResult Search(const SearchOptions& options) {
    std::vector<Precision> start;
    start.reserve(layers_.size());
    for (const SearchLayer& layer : layers_) start.push_back(layer.ladder.front());
    const auto result = SearchPrecisions(
        layers_, Values(start), options,
        [this](const std::vector<Precision>& precisions, size_t) -> absl::StatusOr<AccuracyValues> {
          if (delay_ > std::chrono::nanoseconds()) {
            const auto end = std::chrono::steady_clock::now() + delay_;
            while (std::chrono::steady_clock::now() < end) {
            }
          }
          return Values(precisions);
        });
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->values.sqnr_db, Values(result->precisions).sqnr_db);
    return *result;
  }

  std::vector<SearchLayer> layers_;
  std::chrono::nanoseconds delay_{};  // of a measurement

 private:
  const std::vector<double> noise_;
};

SearchOptions Target(double sqnr_db, double max_float_fraction = 0.35) {
  return {.target = {AccuracyMetric::kSqnr, sqnr_db}, .max_float_fraction = max_float_fraction};
}

int64_t CountOf(const SearchResult& result, Precision precision) {
  return std::count(result.precisions.begin(), result.precisions.end(), precision);
}

TEST(SearchPrecisions, NothingMovesWhereTheTargetHolds) {
  FakeNetwork network(std::vector<double>(10, 1e-4));
  const SearchResult result = network.Search(Target(20));
  EXPECT_THAT(result.precisions, Each(kInt8));
  EXPECT_EQ(result.attempts, 0);
}

// Layers 0 to 2 of 100 make most of the noise.
TEST(SearchPrecisions, CheapAccuracyIsTakenWhereNobodyAsksForLess) {
  std::vector<double> noise(100, 2e-5);
  noise[0] = noise[1] = noise[2] = 1.5e-3;
  FakeNetwork network(noise);
  for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kFloat};
  SearchOptions options = Target(20);
  EXPECT_EQ(CountOf(network.Search(options), kFloat), 0) << "21.9 dB are what was asked for";
  options.target_is_set = false;
  const SearchResult cheap = network.Search(options);
  EXPECT_GE(cheap.values.sqnr_db, kComfortableSqnr);
  EXPECT_GT(CountOf(cheap, kFloat), 0);
  EXPECT_LE(CountOf(cheap, kFloat), 3);
}

TEST(SearchPrecisions, CheapAccuracyLeavesLayersWithManyWeights) {
  std::vector<double> noise(100, 2e-5);
  noise[0] = noise[1] = noise[2] = 1.5e-3;
  FakeNetwork network(noise);
  for (SearchLayer& layer : network.layers_) layer = {"layer", 1, {kInt8, kFloat}, 10};
  network.layers_[0].weights = 60;  // 60 of 1050
  SearchOptions options = Target(20);
  options.target_is_set = false;
  const SearchResult cheap = network.Search(options);
  EXPECT_EQ(cheap.precisions[0], kInt8);
  EXPECT_EQ(cheap.precisions[1], kFloat);
  EXPECT_EQ(cheap.precisions[2], kFloat);
  options.target.value = 28;  // which the first layer alone keeps from holding
  EXPECT_EQ(network.Search(options).precisions[0], kFloat) << "what is asked for goes first";
}

TEST(SearchPrecisions, CheapAccuracyHasALimitAndTheTargetHasNot) {
  FakeNetwork network(std::vector<double>(100, 9e-5));  // 20.5 dB, each layer as bad as the others
  for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kFloat};
  SearchOptions options = Target(20);
  options.target_is_set = false;
  const SearchResult within = network.Search(options);
  EXPECT_LE(CountOf(within, kFloat), 5) << "25 dB would cost 65 layers";
  EXPECT_GE(within.values.sqnr_db, 20);
  options.target.value = 21.5;  // 20.5 dB are 9e-3, 21.5 dB 7.1e-3: 22 layers less
  const SearchResult beyond = network.Search(options);
  EXPECT_GE(beyond.values.sqnr_db, 21.5);
  EXPECT_LE(CountOf(beyond, kFloat), 25);
  EXPECT_GT(beyond.attempts, within.attempts);
}

TEST(SearchPrecisions, FindsTheOneLayerInFewMeasurements) {
  for (const size_t bad : {0u, 41u, 99u}) {
    std::vector<double> noise(100, 1e-6);
    noise[bad] = 0.5;
    FakeNetwork network(noise);
    for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kFloat};
    const SearchResult result = network.Search(Target(20));
    EXPECT_EQ(CountOf(result, kFloat), 1);
    EXPECT_EQ(result.precisions[bad], kFloat);
    EXPECT_THAT(result.reasons[bad], HasSubstr("static int8 alone leaves 3.0 dB"));
    EXPECT_THAT(result.reasons[(bad + 1) % 100], IsEmpty());
    EXPECT_NEAR(result.alone_sqnr_db[bad], 3.01, 0.01);
    // 10 groups, the 10 layers of one, and few to confirm; not 100.
    EXPECT_LE(result.attempts, 24);
  }
}

TEST(SearchPrecisions, TokenByTokenComesBeforeFloat) {
  std::vector<double> noise(20, 1e-5);
  noise[7] = 0.02;
  FakeNetwork network(noise);
  const SearchResult result = network.Search(Target(20));
  EXPECT_EQ(result.precisions[7], kDynamic);
  EXPECT_EQ(CountOf(result, kInt8), 19);
}

TEST(SearchPrecisions, FloatComesWhenTokenByTokenIsNotEnough) {
  std::vector<double> noise(20, 1e-5);
  noise[7] = 1;  // a tenth is still too much
  FakeNetwork network(noise);
  const SearchResult result = network.Search(Target(20));
  EXPECT_EQ(result.precisions[7], kFloat);
  // The others went token by token on the way, and came back.
  EXPECT_EQ(CountOf(result, kInt8), 19);
}

TEST(SearchPrecisions, CheapLayersAreTriedBeforeLargeOnes) {
  // The first gains most for its cost, but a few of the small ones are enough.
  std::vector<double> noise(11, 2e-4);
  noise[0] = 9e-3;
  noise[10] = 1e-3;
  FakeNetwork network(noise);
  for (SearchLayer& layer : network.layers_) layer = {"layer", 10, {kInt8, kFloat}};
  network.layers_[0].macs = 800;
  network.layers_[10] = {"fixed", 9110, {kInt8}};
  const SearchResult result = network.Search(Target(19.5));
  EXPECT_GE(result.values.sqnr_db, 19.5);
  EXPECT_EQ(result.precisions[0], kInt8);
  EXPECT_EQ(CountOf(result, kFloat), 3);
}

TEST(SearchPrecisions, FloatBecomesBFloat16WhereTheTargetGoesOnHolding) {
  std::vector<double> noise(20, 1e-5);
  noise[7] = 1;
  FakeNetwork network(noise);
  for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kBFloat16, kFloat};
  const SearchResult result = network.Search(Target(20));
  EXPECT_EQ(result.precisions[7], kBFloat16);
  EXPECT_EQ(CountOf(result, kInt8), 19);
  // A target that is above what bfloat16 reaches.
  const SearchResult high = network.Search(Target(45, 1));
  EXPECT_EQ(high.precisions[7], kFloat);
}

TEST(SearchPrecisions, BFloat16CountsAsFloat) {
  FakeNetwork network(std::vector<double>(20, 0.1));
  for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kBFloat16};
  const SearchResult result = network.Search(Target(40, 0.25));
  EXPECT_EQ(CountOf(result, kBFloat16), 5);
}

TEST(SearchPrecisions, WhatStartsInBFloat16MayAllBecomeFloat) {
  FakeNetwork network(std::vector<double>(20, 0.1));
  for (SearchLayer& layer : network.layers_) layer.ladder = {kBFloat16, kFloat};
  const SearchResult result = network.Search(Target(90, 0.25));
  EXPECT_EQ(CountOf(result, kFloat), 20);
}

TEST(SearchPrecisions, EvenNoiseMovesNoMoreLayersThanNeeded) {
  FakeNetwork network(std::vector<double>(36, 5e-4));  // 17.4 dB
  const SearchResult result = network.Search(Target(20));
  EXPECT_GE(result.values.sqnr_db, 20);
  // Each that moves takes 4.5e-4 of 0.018 away; 0.01 is allowed.
  EXPECT_EQ(CountOf(result, kDynamic), 18);
  EXPECT_EQ(CountOf(result, kInt8), 18);
}

TEST(SearchPrecisions, FloatIsLimitedAndTheBestIsKept) {
  FakeNetwork network(std::vector<double>(20, 0.1));
  for (SearchLayer& layer : network.layers_) layer.ladder = {kInt8, kFloat};
  const SearchResult result = network.Search(Target(40, 0.25));
  EXPECT_EQ(CountOf(result, kFloat), 5);
  EXPECT_LT(result.values.sqnr_db, 40);
}

TEST(SearchPrecisions, FixedLayersNeverMove) {
  FakeNetwork network({0.5, 1e-5, 1e-5, 0.5});
  network.layers_[0].ladder = {kInt8};
  const SearchResult result = network.Search(Target(20, 1));
  EXPECT_EQ(result.precisions[0], kInt8);
  EXPECT_GT(result.values.sqnr_db, network.Values({kInt8, kInt8, kInt8, kInt8}).sqnr_db);
}

TEST(SearchPrecisions, TheTimeBudgetEndsIt) {
  FakeNetwork network(std::vector<double>(400, 0.1));
  network.delay_ = std::chrono::milliseconds(2);
  SearchOptions options = Target(40, 1);
  options.seconds = 0.05;
  const SearchResult result = network.Search(options);
  EXPECT_TRUE(result.out_of_time);
  EXPECT_LE(result.attempts, 30);
  options.seconds = 0;
  EXPECT_EQ(network.Search(options).attempts, 0);
}

TEST(SearchPrecisions, DecisionsAreCountedNotEstimated) {
  // Of 100 decisions, layer 3 alone turns 20.
  std::vector<SearchLayer> layers(10, SearchLayer{"layer", 1, {kInt8, kFloat}});
  const auto measure = [](const std::vector<Precision>& precisions,
                          size_t) -> absl::StatusOr<AccuracyValues> {
    const bool turned = precisions[3] == kInt8;
    double noise = turned ? 1e-3 : 0;
    for (const Precision precision : precisions) noise += precision == kInt8 ? 1e-5 : 0;
    return AccuracyValues{.samples = 100,
                          .sqnr_db = -10 * std::log10(noise + 1e-10),
                          .relative_error = std::sqrt(noise),
                          .decisions = 100,
                          .agreed = turned ? 80u : 100u};
  };
  const SearchOptions options{.target = {AccuracyMetric::kAgreement, 0.97}};
  const auto start = measure(std::vector<Precision>(10, kInt8), 0);
  const auto result = SearchPrecisions(layers, *start, options, measure);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(CountOf(*result, kFloat), 1);
  EXPECT_EQ(result->precisions[3], kFloat);
}

TEST(SearchPrecisions, AWrongOrderIsMadeUpForOneByOne) {
  // Alone, layer 5 looks harmless; in the network it does all the harm. Only three may move.
  std::vector<SearchLayer> layers(9, SearchLayer{"layer", 1, {kInt8, kFloat}});
  const auto measure = [](const std::vector<Precision>& precisions,
                          size_t) -> absl::StatusOr<AccuracyValues> {
    double noise = 0;
    for (size_t i = 0; i < precisions.size(); ++i) {
      if (precisions[i] == kInt8) noise += i == 5 ? 1e-6 : 1e-4;
    }
    if (precisions[5] == kInt8 && noise > 5e-4) noise += 0.1;
    return AccuracyValues{
        .samples = 8, .sqnr_db = -10 * std::log10(noise), .relative_error = std::sqrt(noise)};
  };
  const auto start = measure(std::vector<Precision>(9, kInt8), 0);
  const auto result = SearchPrecisions(layers, *start, Target(20, 0.34), measure);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(Holds(Target(20).target, result->values));
  EXPECT_EQ(result->precisions[5], kFloat);
}

TEST(SearchPrecisions, ErrorsOfTheMeasurementComeThrough) {
  const std::vector<SearchLayer> layers(4, SearchLayer{"layer", 1, {kInt8, kFloat}});
  const auto result =
      SearchPrecisions(layers, {.samples = 1, .sqnr_db = 3, .relative_error = 0.7}, Target(20),
                       [](const auto&, size_t) -> absl::StatusOr<AccuracyValues> {
                         return absl::ResourceExhaustedError("full");
                       });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace octet::runtime
