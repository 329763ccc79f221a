#include "quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace octet::quant {
namespace {

std::vector<float> Sample(std::mt19937& random, size_t size, float mean, float deviation) {
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(size);
  for (float& value : values) value = random() % 10 == 0 ? 0 : normal(random);
  return values;
}

Histogram Of(const std::vector<float>& values) {
  Histogram histogram;
  histogram.AddSample(values);
  return histogram;
}

uint64_t Total(const Histogram& histogram) {
  return std::accumulate(histogram.bins().begin(), histogram.bins().end(), uint64_t{0});
}

TEST(Histogram, CountsEveryValueInItsBin) {
  std::mt19937 random(5);
  const std::vector<float> values = Sample(random, 20'000, 3, 7);
  const Histogram histogram = Of(values);
  std::vector<uint64_t> expected(Histogram::kBins);
  uint64_t zeros = 0;
  for (const float value : values) {
    if (value == 0) {
      ++zeros;
    } else {
      const auto bin = static_cast<int64_t>(std::floor(value / histogram.bin_width()));
      ++expected.at(static_cast<size_t>(bin - histogram.first_bin()));
    }
  }
  EXPECT_TRUE(std::ranges::equal(histogram.bins(), expected));
  EXPECT_EQ(histogram.zeros(), zeros);
  EXPECT_EQ(histogram.count(), values.size());
  EXPECT_EQ(histogram.min(), *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(histogram.max(), *std::max_element(values.begin(), values.end()));
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  EXPECT_NEAR(histogram.Mean(), sum / 20'000, 1e-9);
  EXPECT_NEAR(histogram.SumSquares(),
              std::inner_product(values.begin(), values.end(), values.begin(), 0.0), 1e-3);
}

TEST(Histogram, UsesAtLeastHalfOfItsBins) {
  std::mt19937 random(6);
  for (const float deviation : {1e-30f, 1e-3f, 1.0f, 1e20f}) {
    const Histogram histogram = Of(Sample(random, 1000, 0, deviation));
    const double bins =
        (static_cast<double>(histogram.max()) - histogram.min()) / histogram.bin_width();
    EXPECT_GE(bins, Histogram::kBins / 2 - 1);
    EXPECT_LE(bins, Histogram::kBins);
  }
}

TEST(Histogram, DoesNotDependOnTheOrderOfSamples) {
  std::mt19937 random(8);
  std::vector<std::vector<float>> samples;
  samples.reserve(6);
  for (int i = 0; i < 6; ++i) {
    samples.push_back(Sample(random, 1 + random() % 6000, 0, std::ldexp(1.0f, 3 * i - 9)));
  }
  Histogram forwards;
  for (const auto& sample : samples) forwards.AddSample(sample);
  Histogram backwards;
  std::reverse(samples.begin(), samples.end());
  for (const auto& sample : samples) backwards.AddSample(sample);
  EXPECT_EQ(forwards, backwards);
}

// Merges neighbours in a random order, as a tree of any shape would.
Histogram MergeInSomeOrder(std::vector<Histogram> parts, std::mt19937& random) {
  std::shuffle(parts.begin(), parts.end(), random);
  while (parts.size() > 1) {
    const size_t i = random() % (parts.size() - 1);
    parts[i].Merge(parts[i + 1]);
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
  return parts.front();
}

TEST(Histogram, MergesExactlyInAnyOrder) {
  std::mt19937 random(9);
  for (int set = 0; set < 60; ++set) {
    std::vector<Histogram> parts(2 + random() % 6);
    uint64_t values = 0;
    for (Histogram& part : parts) {
      const int samples = static_cast<int>(random() % 3);  // some parts stay empty
      for (int i = 0; i < samples; ++i) {
        const float scale = std::ldexp(1.0f, static_cast<int>(random() % 40) - 20);
        const float mean = random() % 2 == 0 ? 0 : 50 * scale;
        part.AddSample(Sample(random, random() % 700, mean, scale));
      }
      values += part.count();
    }
    const Histogram merged = MergeInSomeOrder(parts, random);
    EXPECT_EQ(merged.count(), values);
    EXPECT_EQ(Total(merged) + merged.zeros(), values);
    for (int order = 0; order < 7; ++order) EXPECT_EQ(MergeInSomeOrder(parts, random), merged);
  }
}

TEST(Histogram, MergedEqualsAddedInOneGo) {
  std::mt19937 random(10);
  Histogram whole;
  std::vector<Histogram> parts(4);
  for (int i = 0; i < 40; ++i) {
    const std::vector<float> sample = Sample(random, 300, 0, std::ldexp(1.0f, i % 7));
    whole.AddSample(sample);
    parts[random() % parts.size()].AddSample(sample);
  }
  EXPECT_EQ(MergeInSomeOrder(parts, random), whole);
}

TEST(Histogram, KeepsABoundedChoiceOfSampleRangesInAnyOrder) {
  std::vector<Histogram> parts(3);
  for (int i = 0; i < 3000; ++i) {
    const float value = static_cast<float>(i);
    parts[static_cast<size_t>(i % 3)].AddSample(std::vector<float>{-value, value});
  }
  std::mt19937 random(2);
  const Histogram merged = MergeInSomeOrder(parts, random);
  EXPECT_EQ(merged.samples(), 3000u);
  EXPECT_EQ(merged.SampleRanges().size(), Histogram::kKeptSamples);
  EXPECT_EQ(MergeInSomeOrder(parts, random), merged);
}

TEST(Histogram, CountsNonFiniteValuesApart) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Histogram histogram = Of({1, infinity, nan, -2, -infinity, 0, nan, nan});
  EXPECT_EQ(histogram.count(), 3u);
  EXPECT_EQ(histogram.zeros(), 1u);
  EXPECT_EQ(histogram.infinities(), 2u);
  EXPECT_EQ(histogram.nans(), 3u);
  EXPECT_EQ(histogram.min(), -2);
  EXPECT_EQ(histogram.max(), 1);
  EXPECT_EQ(histogram.SumSquares(), 5);
  EXPECT_EQ(Total(histogram), 2u);
  EXPECT_DOUBLE_EQ(histogram.NonFiniteShare(), 5.0 / 8);
}

TEST(Histogram, HasNoRangeBeforeTheFirstFiniteValue) {
  const Histogram histogram = Of({std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.samples(), 1u);
  EXPECT_TRUE(histogram.bins().empty());
  EXPECT_TRUE(histogram.SampleRanges().empty());
}

TEST(Histogram, TakesTheWidestAndNarrowestValuesOfTheType) {
  const float largest = std::numeric_limits<float>::max();
  const float smallest = std::numeric_limits<float>::denorm_min();
  Histogram histogram = Of({smallest, -smallest, 0});
  EXPECT_EQ(Total(histogram), 2u);
  histogram.AddSample(std::vector<float>{largest, -largest, 1});
  EXPECT_EQ(Total(histogram), 5u);
  EXPECT_EQ(histogram.max(), largest);
  const Histogram far = Of({1e30f, 1e30f});  // narrow, and far from zero
  EXPECT_EQ(Total(far), 2u);
}

TEST(ExactSum, LosesNothing) {
  ExactSum sum;
  for (const double value : {1e300, 1.0, -1e300, 1e-300, -1.0}) sum.Add(value);
  EXPECT_EQ(sum.Value(), 1e-300);
  sum.Add(-1e-300);
  EXPECT_EQ(sum, ExactSum());
  sum.Add(-2.5);
  EXPECT_EQ(sum.Value(), -2.5);
  sum.Add(std::numeric_limits<double>::denorm_min());
  sum.Add(2.5);
  EXPECT_EQ(sum.Value(), std::numeric_limits<double>::denorm_min());
}

TEST(ExactSum, IsTheSameInAnyOrder) {
  std::mt19937 random(4);
  std::vector<double> terms(200);
  for (double& term : terms) {
    term = std::ldexp(std::normal_distribution<double>()(random),
                      static_cast<int>(random() % 400) - 200);
  }
  ExactSum forwards;
  for (const double term : terms) forwards.Add(term);
  std::shuffle(terms.begin(), terms.end(), random);
  ExactSum halves[2];
  for (size_t i = 0; i < terms.size(); ++i) halves[i % 2].Add(terms[i]);
  halves[0].Add(halves[1]);
  EXPECT_EQ(halves[0], forwards);
  std::sort(terms.begin(), terms.end(),
            [](double a, double b) { return std::abs(a) < std::abs(b); });
  EXPECT_NEAR(forwards.Value() / std::accumulate(terms.begin(), terms.end(), 0.0), 1, 1e-12);
}

}  // namespace
}  // namespace octet::quant
