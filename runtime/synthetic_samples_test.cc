#include "runtime/synthetic_samples.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using ::testing::Each;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

// Tokens, kinds and a mask, as an encoder of text has them.
GraphBuilder::Finished Encoder() {
  GraphBuilder builder;
  const ValueId ids = builder.Input("input_ids", {kUnknownDim, kUnknownDim}, DataType::kInt64);
  const ValueId kinds = builder.Input("kinds", {kUnknownDim, kUnknownDim}, DataType::kInt64);
  const ValueId mask = builder.Input("mask", {kUnknownDim, kUnknownDim}, DataType::kInt64);
  const ValueId words = builder.Apply(
      "Gather", "words", {builder.Constant("words.w", RandomFloats({300, 8}, 1)), ids});
  const ValueId kind =
      builder.Apply("Gather", "kind", {builder.Constant("kind.w", RandomFloats({2, 8}, 2)), kinds});
  const ValueId sum = builder.Apply("Add", "sum", {words, kind});
  const ValueId weight = builder.Apply("Unsqueeze", "weight",
                                       {builder.Apply("Cast", "cast", {mask}, {{"to", int64_t{1}}}),
                                        builder.Constant("axis", Tensor::Of<int64_t>({1}, {2}))});
  builder.Output(builder.Apply("Mul", "masked", {sum, weight}), "y");
  return builder.Finish();
}

TEST(SyntheticSamples, AreTokensOfTheTableUnderAMaskOfOnes) {
  const auto encoder = Encoder();
  const auto data =
      SyntheticSamples(encoder.graph, encoder.example_shapes, {.samples = 40, .seed = 7});
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->samples.size(), 40u);
  std::set<int64_t> tokens, lengths;
  for (const std::vector<Tensor>& sample : data->samples) {
    ASSERT_EQ(sample.size(), 3u);
    EXPECT_EQ(sample[1].shape(), sample[0].shape());
    EXPECT_EQ(sample[2].shape(), sample[0].shape());
    EXPECT_EQ(sample[0].shape()[0], 1);
    lengths.insert(sample[0].shape()[1]);
    for (const int64_t token : sample[0].As<int64_t>()) tokens.insert(token);
    EXPECT_THAT(sample[1].As<int64_t>(), Each(0));
    EXPECT_THAT(sample[2].As<int64_t>(), Each(1));
  }
  EXPECT_EQ(*tokens.begin(), 0);
  EXPECT_EQ(*tokens.rbegin(), 299);
  EXPECT_GT(tokens.size(), 250u);  // of 300, in some 1400 draws
  EXPECT_GT(lengths.size(), 10u);
}

TEST(SyntheticSamples, AreTheSameForASeed) {
  const auto encoder = Encoder();
  const auto tokens = [&](uint64_t seed) {
    const auto data = SyntheticSamples(encoder.graph, encoder.example_shapes, {2, seed});
    const auto values = data->samples[1][0].As<int64_t>();
    return std::vector<int64_t>(values.begin(), values.end());
  };
  EXPECT_EQ(tokens(1), tokens(1));
  EXPECT_NE(tokens(1), tokens(2));
}

TEST(SyntheticSamples, AreRefusedForImages) {
  GraphBuilder builder;
  builder.Output(builder.Apply("Relu", "relu", {builder.Input("x", {kUnknownDim, 3, 8, 8})}), "y");
  const auto model = builder.Finish();
  const absl::Status status = SyntheticSamples(model.graph, model.example_shapes, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Q010"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("an image"));
  const auto noise =
      SyntheticSamples(model.graph, model.example_shapes, {.samples = 3, .allow_noise = true});
  ASSERT_TRUE(noise.ok()) << noise.status();
  double sum = 0, squares = 0;
  for (const float value : noise->samples[2][0].As<float>()) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 192, 0, 0.3);
  EXPECT_NEAR(squares / 192, 1, 0.4);
}

}  // namespace
}  // namespace octet::runtime
