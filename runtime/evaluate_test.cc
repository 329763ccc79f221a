#include "runtime/evaluate.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/plan.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::QuantParams;
using graph::ValueId;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing::GraphBuilder;

using Outputs = std::vector<std::vector<Tensor>>;

TEST(OutputSqnrDb, IsTheRatioOfPowers) {
  const Outputs exact = {{Tensor::Of<float>({2}, {3, 4})}, {Tensor::Of<float>({1}, {5})}};
  const Outputs off = {{Tensor::Of<float>({2}, {3, 4.5f})}, {Tensor::Of<float>({1}, {5})}};
  EXPECT_NEAR(OutputSqnrDb(exact, off), 10 * std::log10(50 / 0.25), 1e-9);
}

TEST(OutputSqnrDb, HasBounds) {
  const Outputs some = {{Tensor::Of<float>({1}, {1})}};
  const Outputs zero = {{Tensor::Of<float>({1}, {0})}};
  const Outputs broken = {{Tensor::Of<float>({1}, {NAN})}};
  EXPECT_EQ(OutputSqnrDb(some, some), 99);
  EXPECT_EQ(OutputSqnrDb(zero, zero), 99);
  EXPECT_EQ(OutputSqnrDb(zero, some), -99);
  EXPECT_EQ(OutputSqnrDb(some, broken), -99);
}

TEST(OutputSqnrDb, LeavesOutWhatIsNotFloatOrNotFinite) {
  const Outputs exact = {{Tensor::Of<int64_t>({1}, {1}), Tensor::Of<float>({2}, {HUGE_VALF, 1})}};
  const Outputs other = {{Tensor::Of<int64_t>({1}, {9}), Tensor::Of<float>({2}, {5, 1})}};
  EXPECT_EQ(OutputSqnrDb(exact, other), 99);
}

class EvaluateTest : public ::testing::Test {
 protected:
  // y = relu(2 x) for any number of columns.
  EvaluateTest() {
    GraphBuilder builder;
    const ValueId x = builder.Input("x", {kUnknownDim, kUnknownDim});
    doubled_ = builder.Apply("Add", "add", {x, x});
    builder.Output(builder.Apply("Relu", "relu", {doubled_}), "y");
    graph_ = builder.Finish().graph;
  }

  ValueId doubled_{};
  std::optional<graph::Graph> graph_;
  kernels::WeightCache weights_;
};

TEST_F(EvaluateTest, RunAllTakesSamplesOfDifferentShapes) {
  const std::vector<std::vector<Tensor>> samples = {{Tensor::Of<float>({1, 2}, {1, -1})},
                                                    {Tensor::Of<float>({1, 3}, {2, 3, -4})}};
  const auto outputs = RunAll(*graph_, samples, weights_);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0][0].As<float>(), ElementsAre(2, 0));
  EXPECT_THAT((*outputs)[1][0].As<float>(), ElementsAre(4, 6, 0));
}

TEST_F(EvaluateTest, ObserveSeesValuesInside) {
  const std::vector<std::vector<Tensor>> samples = {{Tensor::Of<float>({1, 2}, {1, -1})},
                                                    {Tensor::Of<float>({1, 2}, {5, 0})}};
  const std::vector<ValueId> values = {doubled_};
  const auto histograms = Observe(*graph_, values, samples, weights_);
  ASSERT_TRUE(histograms.ok()) << histograms.status();
  EXPECT_EQ((*histograms)[0].min(), -2);
  EXPECT_EQ((*histograms)[0].max(), 10);
  EXPECT_EQ(Observe(*graph_, values, {}, weights_).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(EvaluateTest, ThreadsVisitInTheOrderOfSamples) {
  std::vector<std::vector<Tensor>> samples;
  for (int64_t s = 0; s < 64; ++s) {
    const Shape shape = {1, 1 + s % 3};  // threads run different plans, too
    samples.push_back({Tensor::Of<float>(
        shape, std::vector<float>(static_cast<size_t>(shape[1]), static_cast<float>(s)))});
  }
  std::vector<float> visited;
  const auto visit = [&](size_t, const ConstTensorView& value) {
    visited.push_back(value.As<float>()[0]);
    return absl::OkStatus();
  };
  const std::vector<ValueId> values = {doubled_};
  ASSERT_TRUE(VisitValues(*graph_, values, samples, {weights_, 4}, visit).ok());
  ASSERT_EQ(visited.size(), samples.size());
  for (size_t s = 0; s < visited.size(); ++s) EXPECT_EQ(visited[s], 2 * s);
}

TEST_F(EvaluateTest, ConstantsInputsAndValuesWantedTwiceAreVisited) {
  const ValueId x = graph_->inputs()[0].value;
  const ValueId constant = graph_->AddConstant("c", Tensor::Of<float>({1}, {7}));
  const std::vector<ValueId> values = {doubled_, x, constant, doubled_, graph_->outputs()[0].value};
  const std::vector<std::vector<Tensor>> samples(3, {Tensor::Of<float>({1, 1}, {2})});
  std::vector<std::vector<float>> seen(values.size());
  const auto visit = [&](size_t i, const ConstTensorView& value) {
    seen[i].push_back(value.As<float>()[0]);
    return absl::OkStatus();
  };
  ASSERT_TRUE(VisitValues(*graph_, values, samples, {weights_, 2}, visit).ok());
  const std::vector<float> expected = {4, 2, 7, 4, 4};
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(seen[i], std::vector<float>(3, expected[i])) << i;
  }
}

// Values that everything is written over again, and what is written over them in place.
TEST(VisitValues, ShowsWhatALongChainMakesWithoutKeepingIt) {
  GraphBuilder builder;
  constexpr int64_t kElements = 1 << 16;
  ValueId value = builder.Input("x", {kUnknownDim, kElements});
  std::vector<ValueId> values;
  for (int i = 0; i < 20; ++i) {
    value = builder.Apply(i % 2 == 0 ? "Neg" : "Relu", "op", {value});
    values.push_back(value);
  }
  builder.Output(value, "y");
  graph::Graph graph = builder.Finish().graph;
  for (const ValueId inner : values) graph.AddOutput(inner, "inner", DataType::kFloat32);
  kernels::WeightCache weights;
  const std::vector<Shape> shapes = {{1, kElements}};
  const auto late = MakePlan(graph, shapes, weights);
  const auto early = MakePlan(graph, shapes, weights, 1, /*first_early=*/1);
  ASSERT_TRUE(late.ok() && early.ok()) << late.status() << early.status();
  EXPECT_LE((*early)->memory.arena_bytes, (*late)->memory.arena_bytes / 4);
  const std::vector<Tensor> sample = {testing::RandomFloats({1, kElements}, 3)};
  const auto expected = PlanRunner::Create(*late)->Run(sample);
  ASSERT_TRUE(expected.ok()) << expected.status();
  std::vector<size_t> seen;
  const auto compare = [&](size_t output, const ConstTensorView& shown) {
    seen.push_back(output);
    const auto want = (*expected)[output].As<float>();
    EXPECT_TRUE(std::equal(want.begin(), want.end(), shown.As<float>().begin())) << output;
    return absl::OkStatus();
  };
  ASSERT_TRUE(PlanRunner::Create(*early)->RunVisiting(sample, compare).ok());
  EXPECT_EQ(seen.size(), values.size());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST_F(EvaluateTest, TheFirstSampleThatFailsEndsAllThreads) {
  std::vector<std::vector<Tensor>> samples(32, {Tensor::Of<float>({1, 1}, {1})});
  samples[9] = samples[11] = {};  // no input
  size_t visits = 0;
  const auto count = [&](size_t, const ConstTensorView&) {
    ++visits;
    return absl::OkStatus();
  };
  const std::vector<ValueId> values = {doubled_};
  kernels::WeightCache others;
  const absl::Status alone = VisitValues(*graph_, values, samples, others, count);
  EXPECT_FALSE(alone.ok());
  EXPECT_EQ(visits, 9u);
  EXPECT_EQ(VisitValues(*graph_, values, samples, {weights_, 4}, count), alone);
  EXPECT_EQ(visits, 18u);
}

constexpr int64_t kChannels = 3, kWidth = 21;

// Of one channel of samples {1, kChannels, kWidth}, the slow way.
ChannelStatistics OfChannel(Samples samples, int dimension, size_t channel) {
  ChannelStatistics statistics;
  for (const std::vector<Tensor>& sample : samples) {
    const auto elements = sample[0].As<float>();
    for (size_t i = 0; i < elements.size(); ++i) {
      if ((dimension == 1 ? i / kWidth : i % kWidth) != channel) continue;
      if (!std::isfinite(elements[i])) continue;
      statistics.lowest = std::min(statistics.lowest, elements[i]);
      statistics.highest = std::max(statistics.highest, elements[i]);
      statistics.mean_square += double{elements[i]} * elements[i];
    }
  }
  return statistics;
}

class ChannelStatisticsTest : public ::testing::TestWithParam<int> {};

TEST_P(ChannelStatisticsTest, AreOfEachChannelOnAnyNumberOfThreads) {
  const int dimension = GetParam();
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, kChannels, kWidth});
  builder.Output(builder.Apply("Relu", "relu", {x}), "y");
  const graph::Graph graph = builder.Finish().graph;
  std::vector<std::vector<Tensor>> samples;
  for (uint32_t s = 0; s < 12; ++s) {
    samples.push_back({testing::RandomFloats({1, kChannels, kWidth}, s)});
    samples.back()[0].MutableAs<float>()[40] = s == 5 ? NAN : HUGE_VALF;  // does not count
  }
  const std::vector<ValueId> values = {x};
  kernels::WeightCache weights;
  const auto one = StatisticsByChannel(graph, values, dimension, samples, {weights, 1});
  const auto four = StatisticsByChannel(graph, values, dimension, samples, {weights, 4});
  ASSERT_TRUE(one.ok() && four.ok()) << one.status() << four.status();
  const std::vector<ChannelStatistics>& channels = (*one)[0].channels;
  ASSERT_EQ(channels.size(), static_cast<size_t>(dimension == 1 ? kChannels : kWidth));
  for (size_t c = 0; c < channels.size(); ++c) {
    const ChannelStatistics expected = OfChannel(samples, dimension, c);
    EXPECT_EQ(channels[c].lowest, expected.lowest);
    EXPECT_EQ(channels[c].highest, expected.highest);
    EXPECT_NEAR(channels[c].mean_square, expected.mean_square / (*one)[0].elements, 1e-9);
    const ChannelStatistics& other = (*four)[0].channels[c];
    EXPECT_EQ(std::tie(channels[c].lowest, channels[c].highest, channels[c].second_lowest,
                       channels[c].second_highest, channels[c].mean_square),
              std::tie(other.lowest, other.highest, other.second_lowest, other.second_highest,
                       other.mean_square));
  }
}

INSTANTIATE_TEST_SUITE_P(Dimensions, ChannelStatisticsTest, ::testing::Values(1, -1));

// x -> Quantize -> MaxPool: codes inside, floats outside.
TEST(ValueSqnrDb, ReadsCodesAsWhatTheyStandFor) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 4});
  const ValueId same = builder.Apply("Identity", "copy", {x});
  builder.Output(builder.Apply("Relu", "relu", {same}), "y");
  const graph::Graph exact = builder.Finish().graph;
  graph::Graph rounded = exact;
  // The value `same` is stored as codes of step 0.5, and read as floats.
  const graph::NodeId relu = rounded.NodesOfType("Relu")[0];
  const graph::NodeId copy = rounded.NodesOfType("Identity")[0];
  rounded.mutable_node(copy).op = "octet.Quantize";
  rounded.mutable_node(copy).schema = rounded.registry().FindNewest("octet.Quantize");
  graph::TensorType codes = rounded.value(same).type;
  const graph::TensorType floats = codes;
  codes.dtype = DataType::kUint8;
  codes.quant = QuantParams{{0.5f}, {100}, std::nullopt};
  rounded.mutable_type(same) = codes;
  rounded.SetInput(relu, 0, rounded.Apply("octet.Dequantize", "float", {same}, {}, floats));
  const std::vector<std::vector<Tensor>> samples = {{Tensor::Of<float>({1, 4}, {1.1f, -2, 3, 0})}};
  const std::vector<ValueId> values = {same};
  kernels::WeightCache a, b;
  const auto sqnr = ValueSqnrDb(exact, rounded, values, samples, a, b);
  ASSERT_TRUE(sqnr.ok()) << sqnr.status();
  EXPECT_THAT(*sqnr, ElementsAre(DoubleNear(10 * std::log10((1.21 + 4 + 9) / 0.01), 1e-3)));
}

TEST(ValueSqnrDb, ManyLargeValuesAreMeasuredInGroups) {
  GraphBuilder builder;
  ValueId value = builder.Input("x", {kUnknownDim, 1 << 20});
  std::vector<ValueId> values;
  for (int i = 0; i < 12; ++i) {
    value = builder.Apply("Neg", "neg", {value});
    values.push_back(value);
  }
  builder.Output(value, "y");
  const graph::Graph graph = builder.Finish().graph;
  const std::vector<std::vector<Tensor>> samples = {{testing::RandomFloats({2, 1 << 20}, 1)}};
  kernels::WeightCache weights;
  const auto sqnr = ValueSqnrDb(graph, graph, values, samples, weights, weights);
  ASSERT_TRUE(sqnr.ok()) << sqnr.status();
  EXPECT_EQ(*sqnr, std::vector<double>(12, 99));
}

}  // namespace
}  // namespace octet::runtime
