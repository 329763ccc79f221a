#include "runtime/calibration_statistics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/fingerprint.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::HasSubstr;
using testing::RandomFloats;

testing::GraphBuilder::Finished Network(float scale = 0.2f) {
  testing::GraphBuilder builder;
  graph::ValueId value = builder.Input("x", {kUnknownDim, 24});
  for (const char* name : {"first", "second"}) {
    value = builder.Apply("MatMul", name,
                          {value, builder.Constant(absl::StrCat(name, ".w"),
                                                   RandomFloats({24, 24}, name[0], scale))});
    value = builder.Apply("Relu", absl::StrCat(name, ".relu"), {value});
  }
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Samples(uint32_t first, uint32_t count, const std::string& source = "memory") {
  CalibrationData data{.source = source};
  for (uint32_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 24}, 40 + first + i)});
  }
  return data;
}

CalibrationStatistics Of(uint32_t first, uint32_t count, const std::string& source = "memory") {
  auto statistics = ObserveStatistics(Network().graph, Samples(first, count, source));
  EXPECT_TRUE(statistics.ok()) << statistics.status();
  return *std::move(statistics);
}

absl::StatusOr<CalibrationStatistics> Decode(const std::string& bytes) {
  return DecodeStatistics(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

CalibrationStatistics Merged(CalibrationStatistics to, const CalibrationStatistics& from) {
  EXPECT_TRUE(Merge(from, to).ok());
  return to;
}

TEST(CalibrationStatistics, SeesEveryActivationOfInt8Layers) {
  const CalibrationStatistics statistics = Of(0, 5);
  EXPECT_GE(statistics.values.size(), 2u);
  EXPECT_EQ(statistics.samples, 5u);
  EXPECT_EQ(statistics.sample_digests.size(), 5u);
  EXPECT_EQ(statistics.network, Hex(Fingerprint(Network().graph)));
  for (const auto& [value, histogram] : statistics.values) EXPECT_EQ(histogram.samples(), 5u);
  EXPECT_FALSE(ObserveStatistics(Network().graph, {}).ok());
}

TEST(CalibrationStatistics, FilesComeBackBitForBit) {
  for (const uint32_t count : {1u, 7u}) {
    const CalibrationStatistics statistics = Of(count, count);
    const std::string bytes = EncodeStatistics(statistics);
    const auto copy = Decode(bytes);
    ASSERT_TRUE(copy.ok()) << copy.status();
    EXPECT_EQ(*copy, statistics);
    EXPECT_EQ(EncodeStatistics(*copy), bytes);
  }
}

TEST(CalibrationStatistics, MergedFilesAreThatOfAllSamples) {
  const std::string whole = EncodeStatistics(Of(0, 12));
  const CalibrationStatistics a = *Decode(EncodeStatistics(Of(0, 5)));
  const CalibrationStatistics b = *Decode(EncodeStatistics(Of(5, 1)));
  const CalibrationStatistics c = *Decode(EncodeStatistics(Of(6, 6)));
  EXPECT_EQ(EncodeStatistics(Merged(Merged(a, b), c)), whole);
  EXPECT_EQ(EncodeStatistics(Merged(a, Merged(b, c))), whole) << "associative";
  EXPECT_EQ(EncodeStatistics(Merged(c, Merged(b, a))), whole) << "commutative";
  // A sample that was seen twice counts twice, and is one sample.
  EXPECT_EQ(EncodeStatistics(Merged(a, a)), EncodeStatistics([] {
              CalibrationData twice = Samples(0, 5);
              for (const auto& sample : Samples(0, 5).samples) twice.samples.push_back(sample);
              return *ObserveStatistics(Network().graph, twice);
            }()));
  EXPECT_EQ(Merged(Of(0, 1, "b"), Of(1, 1, "a")).sources, (std::vector<std::string>{"a", "b"}));
}

TEST(CalibrationStatistics, OfAnotherNetworkAreNotMerged) {
  CalibrationStatistics other = *ObserveStatistics(Network(0.3f).graph, Samples(0, 2));
  EXPECT_EQ(Merge(Of(0, 2), other).code(), absl::StatusCode::kInvalidArgument);
}

TEST(CalibrationStatistics, DamageIsFound) {
  const std::string bytes = EncodeStatistics(Of(0, 3));
  for (size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 300) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 16);
    const auto decoded = Decode(damaged);
    // The name of a section is not believed either.
    ASSERT_FALSE(decoded.ok()) << "byte " << i;
    EXPECT_FALSE(Decode(bytes.substr(0, i)).ok()) << i << " bytes";
  }
  EXPECT_THAT(Decode(bytes + "more").status().message(), HasSubstr("bytes after its end"));
}

// Right in every digest, and yet nothing that Octet has written.
TEST(CalibrationStatistics, ForgeriesAreFound) {
  CalibrationStatistics forged = Of(0, 3);
  std::swap(forged.sample_digests[0], forged.sample_digests[1]);
  EXPECT_THAT(Decode(EncodeStatistics(forged)).status().message(), HasSubstr("list of samples"));
  forged = Of(0, 3);
  forged.samples = 1;
  EXPECT_THAT(Decode(EncodeStatistics(forged)).status().message(), HasSubstr("list of samples"));
}

TEST(CalibrationStatistics, CalibrateAsTheirSamplesDo) {
  const auto network = Network();
  const CalibrationData samples = Samples(0, 12);
  const CalibrationData validation = Samples(100, 8);
  // Without what only samples allow.
  const QuantizeOptions options{.compensation = QuantizeOptions::Compensation::kNone,
                                .bias_correction = QuantizeOptions::BiasCorrection::kOff};
  CalibrationData kept{.source = "model.qcal"};
  kept.statistics = std::make_shared<const CalibrationStatistics>(
      *Decode(EncodeStatistics(*ObserveStatistics(network.graph, samples))));
  const auto by_samples =
      QuantizeModel(network.graph, network.example_shapes, samples, options, validation);
  const auto by_statistics =
      QuantizeModel(network.graph, network.example_shapes, kept, options, validation);
  ASSERT_TRUE(by_samples.ok() && by_statistics.ok()) << by_statistics.status();
  EXPECT_EQ(Fingerprint(by_statistics->graph), Fingerprint(by_samples->graph));
  EXPECT_EQ(by_statistics->report.mode, "int8");
  EXPECT_EQ(by_statistics->report.calibration_samples, 12u);
  EXPECT_EQ(by_statistics->report.accuracy.verdict, AccuracyVerdict::kMet);
  const auto unmeasured = QuantizeModel(network.graph, network.example_shapes, kept, options);
  ASSERT_TRUE(unmeasured.ok()) << unmeasured.status();
  EXPECT_EQ(unmeasured->report.accuracy.verdict, AccuracyVerdict::kUnverified);
  EXPECT_EQ(unmeasured->report.mode, "int8");
}

TEST(CalibrationStatistics, WhatWasSeenDoesNotMeasure) {
  CalibrationData validation = Samples(3, 6);
  validation.labels = {0, 1, 2, 3, 4, 5};
  const CalibrationData unseen = WithoutSeen(Of(0, 5), validation);
  EXPECT_EQ(unseen.samples.size(), 4u);
  EXPECT_EQ(unseen.labels, (std::vector<int64_t>{2, 3, 4, 5}));
}

}  // namespace
}  // namespace octet::runtime
