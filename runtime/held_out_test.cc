#include "runtime/held_out.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// One sample for each value.
CalibrationData Data(const std::vector<float>& values) {
  CalibrationData data{.source = "memory"};
  for (const float value : values) data.samples.push_back({Tensor::Of<float>({1, 1}, {value})});
  return data;
}

std::vector<float> Values(const std::vector<std::vector<Tensor>>& samples) {
  std::vector<float> values;
  values.reserve(samples.size());
  for (const std::vector<Tensor>& sample : samples) values.push_back(sample[0].As<float>()[0]);
  return values;
}

TEST(HoldOut, TakesAnEvenChoice) {
  const SampleSplit split = HoldOut(Data({0, 1, 2, 3, 4, 5, 6, 7}), 0.25);
  EXPECT_THAT(Values(split.calibrating), ElementsAre(0, 1, 2, 4, 5, 6));
  EXPECT_THAT(Values(split.held_out.samples), ElementsAre(3, 7));
}

TEST(HoldOut, LeavesOneForEither) {
  EXPECT_THAT(HoldOut(Data({0, 1}), 0).held_out.samples, SizeIs(1));
  EXPECT_THAT(HoldOut(Data({0, 1}), 1).calibrating, SizeIs(1));
  EXPECT_THAT(HoldOut(Data({0}), 0.25).held_out.samples, IsEmpty());
  EXPECT_THAT(HoldOut(Data({}), 0.25).held_out.samples, IsEmpty());
}

TEST(HoldOut, WhatCalibratesNeverMeasures) {
  // Few different values, each many times.
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::vector<float> values;
    values.reserve(20 + seed);
    for (uint32_t i = 0; i < 20 + seed; ++i) {
      values.push_back(static_cast<float>((i * i * (seed + 3) + seed) % (5 + seed)));
    }
    const SampleSplit split = HoldOut(Data(values), 0.25);
    const std::vector<float> calibrating = Values(split.calibrating);
    for (const float value : Values(split.held_out.samples)) {
      EXPECT_EQ(std::count(calibrating.begin(), calibrating.end(), value), 0) << value;
    }
  }
}

TEST(HoldOut, CopiesOfOneSampleCannotBeMeasuredWith) {
  EXPECT_THAT(HoldOut(Data({7, 7, 7, 7, 7, 7, 7, 7}), 0.25).held_out.samples, IsEmpty());
}

TEST(HoldOut, LabelsGoWithTheirSamples) {
  CalibrationData data = Data({0, 1, 2, 3, 4, 5, 1, 7});
  data.labels = {10, 11, 12, 13, 14, 15, 16, 17};
  const SampleSplit split = HoldOut(data, 0.5);
  EXPECT_THAT(Values(split.held_out.samples), ElementsAre(3, 5, 7));  // 1 calibrates too
  EXPECT_THAT(split.held_out.labels, ElementsAre(13, 15, 17));
}

TEST(WithoutSeen, ComparesShapesAndBytes) {
  CalibrationData measuring = Data({1, 2});
  measuring.labels = {1, 2};
  const std::vector<std::vector<Tensor>> calibrating = {{Tensor::Of<float>({1}, {1})},
                                                        {Tensor::Of<float>({1, 1}, {2})}};
  const CalibrationData kept = WithoutSeen(calibrating, measuring);
  EXPECT_THAT(Values(kept.samples), ElementsAre(1));
  EXPECT_THAT(kept.labels, ElementsAre(1));
}

}  // namespace
}  // namespace octet::runtime
