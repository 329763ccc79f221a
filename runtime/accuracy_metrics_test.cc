#include "runtime/accuracy_metrics.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::DoubleNear;
using ::testing::Eq;
using ::testing::Optional;

using Outputs = std::vector<std::vector<Tensor>>;

Outputs One(Tensor tensor) { return {{std::move(tensor)}}; }

TEST(CompareOutputs, MeasuresValues) {
  const Outputs exact = {{Tensor::Of<float>({1, 2}, {3, 4})}, {Tensor::Of<float>({1, 2}, {0, 5})}};
  const Outputs other = {{Tensor::Of<float>({1, 2}, {4, 3})}, {Tensor::Of<float>({1, 2}, {0, 5})}};
  const AccuracyValues values = CompareOutputs(exact, other, {});
  EXPECT_EQ(values.samples, 2u);
  EXPECT_NEAR(values.sqnr_db, 10 * std::log10(50.0 / 2), 1e-9);
  EXPECT_NEAR(values.relative_error, std::sqrt(2.0 / 50), 1e-9);
  EXPECT_NEAR(values.cosine, (24.0 / 25 + 1) / 2, 1e-9);
}

TEST(CompareOutputs, LargeOutputsDoNotHideSmallOnes) {
  const Outputs exact = {
      {Tensor::Of<float>({2}, {3000, 4000}), Tensor::Of<float>({2}, {0.3f, 0.4f})}};
  const Outputs other = {
      {Tensor::Of<float>({2}, {3000, 4000}), Tensor::Of<float>({2}, {0.4f, 0.3f})}};
  const AccuracyValues values = CompareOutputs(exact, other, {});
  EXPECT_NEAR(values.sqnr_db, 10 * std::log10(2 * 25.0 / 2), 1e-4);
  EXPECT_NEAR(values.relative_error, std::pow(10, -values.sqnr_db / 20), 1e-9);
}

TEST(CompareOutputs, OutputsOfZerosAreMeasuredByTheOthers) {
  const Outputs exact = {{Tensor::Of<float>({2}, {0, 0}), Tensor::Of<float>({2}, {3, 4})}};
  const Outputs other = {{Tensor::Of<float>({2}, {1, 0}), Tensor::Of<float>({2}, {3, 4})}};
  EXPECT_NEAR(CompareOutputs(exact, other, {}).sqnr_db, 10 * std::log10(2 * 25.0), 1e-6);
}

TEST(CompareOutputs, EqualOutputsAreExact) {
  const Outputs some = One(Tensor::Of<float>({1, 3}, {1, 2, 3}));
  const AccuracyValues values = CompareOutputs(some, some, {});
  EXPECT_EQ(values.sqnr_db, 99);
  EXPECT_EQ(values.relative_error, 0);
  EXPECT_EQ(values.cosine, 1);
  EXPECT_THAT(values.Get(AccuracyMetric::kAgreement), Optional(1.0));
}

TEST(CompareOutputs, BrokenOutputsAreTheWorst) {
  const Outputs exact = One(Tensor::Of<float>({1, 2}, {1, 2}));
  const AccuracyValues values =
      CompareOutputs(exact, One(Tensor::Of<float>({1, 2}, {NAN, NAN})), {});
  EXPECT_EQ(values.sqnr_db, -99);
  EXPECT_EQ(values.cosine, 0);
  EXPECT_TRUE(std::isinf(values.relative_error));
}

TEST(CompareOutputs, DecidesAlongTheLastDimensionOrTheChannels) {
  // [1, 2, 2]: two positions, of which the second changes its class.
  const AccuracyValues sequence =
      CompareOutputs(One(Tensor::Of<float>({1, 2, 2}, {1, 2, 3, 4})),
                     One(Tensor::Of<float>({1, 2, 2}, {1, 2, 4, 3})), {});
  EXPECT_EQ(sequence.decisions, 2u);
  EXPECT_EQ(sequence.agreed, 1u);
  // [1, 2, 1, 2]: two pixels of two channels, of which the first changes.
  const AccuracyValues picture =
      CompareOutputs(One(Tensor::Of<float>({1, 2, 1, 2}, {1, 5, 2, 1})),
                     One(Tensor::Of<float>({1, 2, 1, 2}, {3, 5, 2, 1})), {});
  EXPECT_EQ(picture.decisions, 2u);
  EXPECT_EQ(picture.agreed, 1u);
}

TEST(CompareOutputs, MapsAgreeWhereTheyOverlap) {
  const AccuracyValues values =
      CompareOutputs(One(Tensor::Of<float>({1, 1, 1, 4}, {0.9f, 0.8f, 0.1f, 0.2f})),
                     One(Tensor::Of<float>({1, 1, 1, 4}, {0.9f, 0.3f, 0.7f, 0.2f})), {});
  EXPECT_THAT(values.Get(AccuracyMetric::kAgreement), Optional(DoubleNear(1.0 / 3, 1e-9)));
}

TEST(CompareOutputs, OneNumberIsNoDecision) {
  const Outputs number = One(Tensor::Of<float>({1, 1}, {3}));
  EXPECT_THAT(CompareOutputs(number, number, {}).Get(AccuracyMetric::kAgreement), Eq(std::nullopt));
}

TEST(CompareOutputs, LabelsAreCountedForBothNetworks) {
  const Outputs exact = {{Tensor::Of<float>({1, 2}, {1, 0})},
                         {Tensor::Of<float>({1, 2}, {1, 0})},
                         {Tensor::Of<float>({1, 2}, {1, 0})},
                         {Tensor::Of<float>({1, 2}, {0, 1})}};
  const Outputs other = {{Tensor::Of<float>({1, 2}, {1, 0})},
                         {Tensor::Of<float>({1, 2}, {0, 1})},
                         {Tensor::Of<float>({1, 2}, {0, 1})},
                         {Tensor::Of<float>({1, 2}, {0, 1})}};
  const std::vector<int64_t> labels = {0, 0, 0, 0};
  const AccuracyValues values = CompareOutputs(exact, other, labels);
  EXPECT_EQ(values.labelled, 4u);
  EXPECT_EQ(values.right_float32, 3u);
  EXPECT_EQ(values.right, 1u);
  EXPECT_THAT(values.Get(AccuracyMetric::kTop1), Optional(0.25));
  EXPECT_THAT(CompareOutputs(exact, other, {}).Get(AccuracyMetric::kTop1), Eq(std::nullopt));
}

// Decisions of one network over `classes` classes.
Outputs Deciding(const std::vector<int64_t>& decisions, int64_t classes) {
  Outputs outputs;
  for (const int64_t decision : decisions) {
    std::vector<float> scores(static_cast<size_t>(classes), 0);
    scores[static_cast<size_t>(decision)] = 1;
    outputs.push_back({Tensor::Of<float>({1, classes}, scores)});
  }
  return outputs;
}

// The figures are scikit-learn 1.9's f1_score(average="binary") and (average="macro").
TEST(CompareOutputs, F1IsOfClassOneOrTheMeanOfClasses) {
  const std::vector<int64_t> labels = {0, 1, 1, 0, 1, 0, 1, 0};
  const Outputs exact = Deciding({0, 1, 1, 1, 0, 0, 1, 0}, 2);
  const Outputs other = Deciding({0, 1, 0, 1, 0, 0, 1, 1}, 2);
  const AccuracyValues two = CompareOutputs(exact, other, labels);
  EXPECT_NEAR(two.f1_float32, 0.75, 1e-12);
  EXPECT_THAT(two.Get(AccuracyMetric::kF1), Optional(DoubleNear(0.5, 1e-12)));
  // Class 3 is never a label, class 2 never a decision: both count, with 0.
  const AccuracyValues four = CompareOutputs(Deciding({0, 1, 2, 0}, 4), Deciding({0, 1, 3, 0}, 4),
                                             std::vector<int64_t>{0, 1, 2, 1});
  EXPECT_NEAR(four.f1_float32, 0.777777777777778, 1e-12);
  EXPECT_NEAR(four.f1, 0.333333333333333, 1e-12);
  EXPECT_THAT(CompareOutputs(exact, other, {}).Get(AccuracyMetric::kF1), Eq(std::nullopt));
}

TEST(CompareOutputs, F1OfAClassThatNobodyMeetsIsZero) {
  const Outputs never = Deciding({0, 0}, 2);
  const AccuracyValues values = CompareOutputs(never, never, std::vector<int64_t>{0, 0});
  EXPECT_EQ(values.f1, 0);
  EXPECT_EQ(values.right, 2u);
}

TEST(CompareOutputs, OtherTypesAreLeftOut) {
  const Outputs exact = {{Tensor::Of<int64_t>({1}, {1}), Tensor::Of<float>({1, 2}, {1, 2})}};
  const Outputs other = {{Tensor::Of<int64_t>({1}, {9}), Tensor::Of<float>({1, 2}, {1, 2})}};
  const AccuracyValues values = CompareOutputs(exact, other, {});
  EXPECT_EQ(values.sqnr_db, 99);
  EXPECT_EQ(values.decisions, 1u);
}

}  // namespace
}  // namespace octet::runtime
