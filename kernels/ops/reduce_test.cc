#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "tests/support/compare.h"
#include "tests/support/reference_executor.h"
#include "tests/support/run_both.h"

namespace octet::kernels {
namespace {

using graph::Graph;
using graph::ValueId;
using testing::BothResults;
using testing::Difference;
using ::testing::ElementsAre;
using testing::FixedInput;
using testing::RandomTensor;
using testing::RunBoth;

// The definition: each result on its own, by index arithmetic.
std::vector<float> MeansOverMask(const Tensor& x, const std::vector<bool>& reduced) {
  int64_t results = 1, count = 1;
  for (size_t d = 0; d < reduced.size(); ++d) (reduced[d] ? count : results) *= x.shape()[d];
  std::vector<double> sums(static_cast<size_t>(results), 0);
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t rest = i, target = 0, stride = 1;
    for (size_t d = reduced.size(); d-- > 0;) {
      const int64_t index = rest % x.shape()[d];
      rest /= x.shape()[d];
      if (reduced[d]) continue;
      target += index * stride;
      stride *= x.shape()[d];
    }
    sums[static_cast<size_t>(target)] += x.As<float>()[i];
  }
  std::vector<float> means;
  means.reserve(sums.size());
  for (const double sum : sums)
    means.push_back(static_cast<float>(sum / static_cast<double>(count)));
  return means;
}

TEST(ReduceMean, EverySetOfAxes) {
  const Shape shape = {2, 3, 4, 5};
  for (int mask = 1; mask < 16; ++mask) {
    std::vector<bool> reduced;
    std::vector<int64_t> axes;
    for (int d = 0; d < 4; ++d) {
      reduced.push_back((mask >> d & 1) != 0);
      if (reduced.back()) axes.push_back(d - 4);
    }
    Graph graph(Registry());
    const ValueId x = FixedInput(graph, "x", {.shape = shape});
    graph.AddOutput(graph.Apply("ReduceMean", "mean", {x}, {{"axes", axes}}), "y",
                    DataType::kFloat32);
    const BothResults results = RunBoth(graph, "ReduceMean");
    ASSERT_EQ(results.actual.size(), 1u);
    const std::vector<float> means = MeansOverMask(RandomTensor({.shape = shape}, 0), reduced);
    const Tensor expected = Tensor::Of<float>(results.actual[0].shape(), means);
    EXPECT_EQ(Difference(results.actual[0], expected, DataType::kFloat32,
                         {.relative = 1e-5, .absolute = 1e-6}),
              "")
        << "mask " << mask;
  }
}

TEST(ReduceMean, PoolsImagesInTheirLayout) {
  for (const int64_t channels : {16, 5}) {
    for (const int64_t keep : {0, 1}) {
      Graph graph(Registry());
      const ValueId x = FixedInput(graph, "x", {.shape = {2, 5, 7, 9}});
      const ValueId w = graph.AddConstant("w", RandomTensor({.shape = {channels, 5, 3, 3}}, 11));
      const ValueId y = graph.Apply("Conv", "conv", {x, w});
      const ValueId mean = graph.Apply("ReduceMean", "mean", {y},
                                       {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", keep}});
      graph.AddOutput(graph.Apply("Relu", "relu", {mean}), "y", DataType::kFloat32);
      const BothResults results = RunBoth(graph, "ReduceMean");
      ASSERT_EQ(results.actual.size(), 1u);
      EXPECT_EQ(Difference(results.actual[0], results.expected[0], DataType::kFloat32,
                           {.relative = 1e-3, .absolute = 1e-4}),
                "");
      for (const std::string& implementation : results.implementations) {
        EXPECT_FALSE(absl::StrContains(implementation, "ref")) << implementation;
        EXPECT_NE(implementation, "octet:plain");
      }
    }
  }
}

// One reduction of constant values, computed by shape inference.
template <typename T>
std::vector<T> Reduced(absl::string_view op, const Tensor& x, std::vector<int64_t> axes) {
  Graph graph(Registry());
  const ValueId value = FixedInput(graph, "x", {.dtype = x.dtype(), .shape = x.shape()});
  graph.AddOutput(graph.Apply(op, "reduce", {value}, {{"axes", std::move(axes)}}), "y",
                  DataType::kFloat32);
  const auto outputs = testing::RunReference(graph, {x});
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  if (!outputs.ok()) return {};
  const auto values = (*outputs)[0].template As<T>();
  return {values.begin(), values.end()};
}

TEST(Reduce, LogSumExpDoesNotOverflow) {
  const Tensor x = Tensor::Of<float>({2, 2}, {1000, 1000, -1000, -1000});
  const auto result = Reduced<float>("ReduceLogSumExp", x, {1});
  EXPECT_THAT(result, ElementsAre(::testing::FloatEq(1000 + std::log(2.0f)),
                                  ::testing::FloatEq(-1000 + std::log(2.0f))));
}

TEST(Reduce, LongSumsKeepTheirDigits) {
  const std::vector<float> tenths(1 << 20, 0.1f);
  const Tensor x = Tensor::Of<float>({1 << 20}, tenths);
  EXPECT_THAT(Reduced<float>("ReduceSum", x, {0}),
              ElementsAre(::testing::FloatNear(104857.6f, 0.1f)));
}

TEST(Reduce, NanIsTheLargestAndTheSmallest) {
  const float nan = std::nanf("");
  const Tensor x = Tensor::Of<float>({2, 3}, {1, nan, 3, 1, 2, 3});
  EXPECT_TRUE(std::isnan(Reduced<float>("ReduceMax", x, {1})[0]));
  EXPECT_TRUE(std::isnan(Reduced<float>("ReduceMin", x, {1})[0]));
  EXPECT_EQ(Reduced<float>("ReduceMax", x, {1})[1], 3);
}

TEST(Reduce, IntegersKeepTheirSign) {
  const Tensor x = Tensor::Of<int8_t>({2, 2}, {-4, 2, -7, 1});
  EXPECT_THAT(Reduced<int8_t>("ReduceSum", x, {1}), ElementsAre(-2, -6));
  EXPECT_THAT(Reduced<int8_t>("ReduceMean", x, {1}), ElementsAre(-1, -3));
  EXPECT_THAT(Reduced<int8_t>("ReduceL1", x, {1}), ElementsAre(6, 8));
  EXPECT_THAT(Reduced<int8_t>("ReduceProd", x, {1}), ElementsAre(-8, -7));
  EXPECT_THAT(Reduced<int8_t>("ReduceMax", x, {0}), ElementsAre(-4, 2));
}

TEST(Reduce, RefusesAxesThatAreNotThere) {
  for (const std::vector<int64_t>& axes : {std::vector<int64_t>{2}, {-3}, {0, 0}}) {
    Graph graph(Registry());
    const ValueId x = FixedInput(graph, "x", {.shape = {2, 2}});
    graph.AddOutput(graph.Apply("ReduceSum", "sum", {x}, {{"axes", axes}}), "y",
                    DataType::kFloat32);
    EXPECT_EQ(graph::Infer(graph, std::vector<Shape>{{2, 2}}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace octet::kernels
