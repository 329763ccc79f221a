#include "server/engine/request_samples.h"

#include <cmath>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;

const std::vector<runtime::TensorSpec>& Inputs() {
  static const auto* const kInputs = new std::vector<runtime::TensorSpec>{
      {"x", DataType::kFloat32, {kUnknownDim, 4}}, {"n", DataType::kInt64, {kUnknownDim}}};
  return *kInputs;
}

// Rows of four values, and a number for each.
class Request {
 public:
  explicit Request(std::vector<float> values) : values_(std::move(values)) {
    rows_.rows = static_cast<int64_t>(values_.size() / 4);
    for (int64_t i = 0; i < rows_.rows; ++i) numbers_.push_back(100 + i);
    const auto bytes = std::as_bytes(std::span(values_));
    // In pieces as they may come from the network.
    rows_.inputs.push_back({{rows_.rows, 4}, {bytes.first(7), bytes.subspan(7)}});
    rows_.inputs.push_back({{rows_.rows}, {std::as_bytes(std::span(numbers_))}});
  }
  const runtime::InputRows& rows() const { return rows_; }

 private:
  std::vector<float> values_;
  std::vector<int64_t> numbers_;
  runtime::InputRows rows_;
};

void Offer(RequestSamples& samples, std::vector<float> values) {
  samples.Offer(Request(std::move(values)).rows());
}

std::vector<float> Row(int number) { return {static_cast<float>(number), 1, 2, 3}; }

TEST(RequestSamples, ARowIsASample) {
  RequestSamples samples({.samples = 20}, Inputs(), /*batchable=*/true);
  Offer(samples, {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(samples.statistics().samples, 2u);
  EXPECT_EQ(samples.statistics().state, "observing requests: 2 of 20 samples");
  const runtime::CalibrationData data = samples.Take();
  ASSERT_EQ(data.samples.size(), 2u);
  ASSERT_EQ(data.samples[1].size(), 2u);
  EXPECT_EQ(data.samples[1][0].shape(), (Shape{1, 4}));
  EXPECT_THAT(data.samples[1][0].As<float>(), ::testing::ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(data.samples[1][1].As<int64_t>()[0], 101);
  EXPECT_TRUE(samples.Take().samples.empty());
}

TEST(RequestSamples, WhatTeachesNothingIsPassedOver) {
  RequestSamples samples({.samples = 20}, {Inputs()[0]}, true);
  const auto offer = [&](const std::vector<float>& values) {
    runtime::InputRows rows{.inputs = {}, .rows = 1};
    rows.inputs.push_back({{1, 4}, {std::as_bytes(std::span(values))}});
    samples.Offer(rows);
  };
  offer({0, 0, 0, 0});
  offer({1, NAN, 0, 0});
  offer({1, INFINITY, 0, 0});
  EXPECT_EQ(samples.statistics().samples, 0u);
  offer({1, 2, 0, 0});
  offer({1, 2, 0, 0});
  EXPECT_EQ(samples.statistics().samples, 1u) << "a repetition is no second sample";
}

TEST(RequestSamples, KeepsEverySoMany) {
  RequestSamples samples({.samples = 100, .every = 5}, Inputs(), true);
  for (int i = 0; i < 50; ++i) Offer(samples, Row(i));
  EXPECT_EQ(samples.statistics().samples, 10u);
}

TEST(RequestSamples, EndsWithAsManyAsAreWanted) {
  RequestSamples samples({.samples = 20}, Inputs(), true);
  int calls = 0;
  samples.OnEnough([&] { return ++calls == 3; });
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(samples.wants());
    Offer(samples, Row(i));
  }
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(samples.wants()) << "nobody could be told";
  Offer(samples, Row(20));
  Offer(samples, Row(21));
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(samples.wants());
  Offer(samples, Row(22));
  EXPECT_EQ(samples.statistics().state, "calibrating with 20 samples of requests");
  EXPECT_EQ(samples.Take().samples.size(), 20u);
  samples.Finish("stays");
  EXPECT_EQ(samples.statistics().state, "stays");
}

TEST(RequestSamples, MemoryIsBounded) {
  const size_t sample_bytes = 4 * sizeof(float) + sizeof(int64_t);
  RequestSamples samples({.samples = 1000, .most_bytes = 30 * sample_bytes}, Inputs(), true);
  int calls = 0;
  samples.OnEnough([&] { return ++calls > 0; });
  for (int i = 0; i < 100; ++i) Offer(samples, Row(i));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(samples.Take().samples.size(), 30u) << "fewer, and enough";

  RequestSamples few({.samples = 1000, .most_bytes = 3 * sample_bytes}, Inputs(), true);
  few.OnEnough([&] { return ++calls > 0; });
  for (int i = 0; i < 100; ++i) Offer(few, Row(i));
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(few.wants());
  EXPECT_THAT(few.statistics().state, HasSubstr("do not fit"));
}

TEST(RequestSamples, WhatDoesNotFitTheModelIsNoSample) {
  RequestSamples samples({.samples = 20}, Inputs(), true);
  Request request(Row(1));
  runtime::InputRows rows = request.rows();
  rows.inputs[0].shape = {1, 5};
  samples.Offer(rows);
  rows.inputs.pop_back();
  samples.Offer(rows);
  EXPECT_EQ(samples.statistics().samples, 0u);
}

TEST(RequestSamples, StreamsOfferAtOnce) {
  RequestSamples samples({.samples = 400}, Inputs(), true);
  std::atomic<int> calls = 0;
  samples.OnEnough([&] { return ++calls > 0; });
  std::vector<std::thread> streams;
  streams.reserve(4);
  for (int stream = 0; stream < 4; ++stream) {
    streams.emplace_back([&, stream] {
      for (int i = 0; i < 200; ++i) Offer(samples, Row(1000 * stream + i + 1));
    });
  }
  for (std::thread& stream : streams) stream.join();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(samples.Take().samples.size(), 400u);
}

}  // namespace
}  // namespace octet::server
