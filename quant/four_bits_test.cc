#include "quant/four_bits.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "quant/gptq.h"
#include "quant/testing/normal_values.h"

namespace octet::quant {
namespace {

WeightRows RandomRows(int64_t rows, int64_t columns, uint32_t seed) {
  return {rows, columns, Normal(static_cast<size_t>(rows * columns), seed)};
}

FourBitWeights Quantized(const WeightRows& rows, const FourBitOptions& options,
                         const Hessian* hessian = nullptr) {
  absl::StatusOr<FourBitWeights> result = QuantizeToFourBits(rows, hessian, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

TEST(FourBits, OptionsChooseTheFormat) {
  const WeightRows rows = RandomRows(3, 256, 1);
  EXPECT_EQ(Quantized(rows, {}).format, "u4g128");
  EXPECT_EQ(Quantized(rows, {.symmetric = true, .group = 32}).format, "s4g32");
  EXPECT_EQ(Quantized(rows, {.group = 0}).format, "u4c");
  EXPECT_EQ(Quantized(rows, {.group = 0, .codebook = "decision_tree"}).format, "cb4c");
  EXPECT_EQ(Quantized(rows, {.group = 0, .codebook = "decision_tree", .one_table = true}).format,
            "cb4t");
  EXPECT_EQ(Quantized(rows, {.group = 64, .codebook = "decision_tree"}).format, "cb4g64");
  EXPECT_EQ(QuantizeToFourBits(rows, nullptr, {.codebook = "entropy"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Inputs that are all alike: what one weight misses, others can make up for.
TEST(FourBits, AHessianLessensTheErrorOfTheOutputs) {
  const WeightRows rows = RandomRows(8, 64, 2);
  Hessian hessian(64);
  std::vector<float> inputs = Normal(64 * 200, 3);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = 0.3f * inputs[i] + inputs[i / 64 * 64];
  ASSERT_TRUE(hessian.Add(inputs).ok());
  const auto error = [&](const FourBitWeights& weights) {
    return OutputError(rows, *Dequantize(weights.stored), hessian);
  };
  const FourBitWeights with = Quantized(rows, {.group = 32}, &hessian);
  const FourBitWeights without = Quantized(rows, {.group = 32});
  const FourBitWeights whole_range = Quantized(rows, {.group = 32, .estimator = "min_max"});
  EXPECT_TRUE(with.gptq);
  EXPECT_FALSE(without.gptq);
  EXPECT_LT(error(with), error(without) / 2);
  EXPECT_LT(without.stored.bytes(), size_t{8 * 64});
  double least_squares = 0, min_max = 0;  // of the weights: what least squares are least of
  const std::vector<float> a = *Dequantize(without.stored), b = *Dequantize(whole_range.stored);
  for (size_t i = 0; i < a.size(); ++i) {
    least_squares += (a[i] - rows.values[i]) * (a[i] - rows.values[i]);
    min_max += (b[i] - rows.values[i]) * (b[i] - rows.values[i]);
  }
  EXPECT_LT(least_squares, min_max);
}

TEST(FourBits, Int8WeightsLieAsTheTensorDoes) {
  const WeightRows rows = RandomRows(5, 64, 4);
  const FourBitWeights weights = Quantized(rows, {.group = 32});
  const std::vector<float> exact = *Dequantize(weights.stored);
  for (const Grid& grid : {kSymmetricInt8, kSymmetricInt7}) {
    for (const int axis : {0, 1}) {
      const Shape shape = axis == 0 ? Shape{5, 64} : Shape{64, 5};
      const auto int8 = Int8Weights(weights.stored, rows, shape, axis, grid);
      ASSERT_TRUE(int8.ok()) << int8.status();
      ASSERT_EQ(int8->params.scales.size(), 5u);
      EXPECT_EQ(int8->params.axis, axis);
      for (size_t r = 0; r < 5; ++r) {
        for (size_t c = 0; c < 64; ++c) {
          const int code = int8->codes.As<int8_t>()[axis == 0 ? r * 64 + c : c * 5 + r];
          const float scale = int8->params.scales[r];
          EXPECT_LE(std::abs(code), grid.last);
          EXPECT_NEAR(scale * static_cast<float>(code), exact[r * 64 + c], 0.501f * scale);
        }
      }
    }
  }
}

TEST(FourBits, PackedForRunTimeKnowsTheLargestSum) {
  const WeightRows rows = RandomRows(5, 64, 5);
  FourBitWeights weights = Quantized(rows, {.group = 32});
  weights.int8 = *Int8Weights(weights.stored, rows, {64, 5}, 1, kSymmetricInt8);
  int64_t largest = 0;
  for (size_t r = 0; r < 5; ++r) {
    int64_t sum = 0;
    for (size_t c = 0; c < 64; ++c) sum += weights.int8.codes.As<int8_t>()[c * 5 + r];
    largest = std::max(largest, std::abs(sum));
  }
  ASSERT_TRUE(PackForRunTime(weights).ok());
  EXPECT_EQ(weights.packed->largest_row_sum, largest);
  EXPECT_EQ(weights.packed->codes.byte_size(), 5u * 32);
  FourBitWeights odd = Quantized(rows, {.group = 33});
  odd.int8 = *Int8Weights(odd.stored, rows, {5, 64}, 0, kSymmetricInt8);
  EXPECT_EQ(PackForRunTime(odd).code(), absl::StatusCode::kUnimplemented);
}

// A row of zeros has codes of zero, and a scale that may be divided by.
TEST(FourBits, RowsOfZeros) {
  WeightRows rows = RandomRows(3, 32, 6);
  std::fill(rows.values.begin() + 32, rows.values.begin() + 64, 0.0f);
  for (const char* codebook : {"", "least_squares"}) {
    const FourBitWeights weights = Quantized(rows, {.group = 0, .codebook = codebook});
    const auto int8 = Int8Weights(weights.stored, rows, {3, 32}, 0, kSymmetricInt8);
    ASSERT_TRUE(int8.ok()) << int8.status();
    EXPECT_GT(int8->params.scales[1], 0);
    for (size_t c = 32; c < 64; ++c) EXPECT_EQ(int8->codes.As<int8_t>()[c], 0);
  }
}

}  // namespace
}  // namespace octet::quant
