#include "quant/gptq.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/matrix_loops.h"
#include "quant/testing/normal_values.h"

namespace octet::quant {
namespace {

using ::testing::HasSubstr;

WeightRows RandomRows(int64_t rows, int64_t columns, uint32_t seed) {
  return {rows, columns, Normal(static_cast<size_t>(rows * columns), seed)};
}

// Inputs whose columns hang together, as those of a network do.
std::vector<float> Correlated(size_t rows, size_t columns, uint32_t seed) {
  const size_t factors = columns / 4 + 1;
  const std::vector<float> mixing = Normal(factors * columns, seed);
  const std::vector<float> hidden = Normal(rows * factors, seed + 1);
  std::vector<float> inputs = Normal(rows * columns, seed + 2);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) {
      float sum = 0.3f * inputs[r * columns + c];
      for (size_t f = 0; f < factors; ++f) sum += hidden[r * factors + f] * mixing[f * columns + c];
      inputs[r * columns + c] = sum;
    }
  }
  return inputs;
}

Hessian HessianOf(std::span<const float> inputs, int64_t columns) {
  Hessian hessian(columns);
  EXPECT_TRUE(hessian.Add(inputs).ok());
  return hessian;
}

TEST(Hessian, IsTheProductOfTheInputsWithThemselves) {
  for (const int64_t columns : {1, 3, 4, 37}) {
    const std::vector<float> inputs = Normal(static_cast<size_t>(600 * columns), 21);
    const Hessian hessian = HessianOf(inputs, columns);
    EXPECT_EQ(hessian.rows(), 600);
    for (int64_t i = 0; i < columns; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        double expected = 0;
        for (int64_t row = 0; row < 600; ++row) {
          expected += static_cast<double>(inputs[static_cast<size_t>(row * columns + i)]) *
                      inputs[static_cast<size_t>(row * columns + j)];
        }
        EXPECT_NEAR(hessian.At(i, j), expected, 1e-3);
      }
    }
  }
}

TEST(Hessian, MergesAndRefuses) {
  const std::vector<float> inputs = Normal(500 * 7, 22);
  Hessian first = HessianOf(std::span(inputs).first(200 * 7), 7);
  Hessian second = HessianOf(std::span(inputs).subspan(200 * 7), 7);
  ASSERT_TRUE(first.Merge(second).ok());
  const Hessian whole = HessianOf(inputs, 7);
  EXPECT_EQ(first.rows(), whole.rows());
  for (int64_t i = 0; i < 7; ++i) EXPECT_NEAR(first.At(i, 3), whole.At(i, 3), 1e-3);
  EXPECT_EQ(first.Merge(Hessian(6)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(first.Add(std::vector<float>(8)).code(), absl::StatusCode::kInvalidArgument);
  std::vector<float> bad(7);
  bad[4] = std::nanf("");
  const absl::Status status = first.Add(bad);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nan at index 4"));
  EXPECT_EQ(first.rows(), 500);
}

TEST(Cholesky, FactorizesAndRefuses) {
  for (const size_t size : {4, 8, 36}) {
    const Hessian hessian = HessianOf(Normal(100 * size, 23), static_cast<int64_t>(size));
    std::vector<double> factor(size * size);
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        factor[i * size + j] = hessian.At(static_cast<int64_t>(i), static_cast<int64_t>(j));
      }
    }
    ASSERT_TRUE(FactorizeCholesky(factor.data(), size));
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double product = 0;
        for (size_t k = 0; k <= j; ++k) product += factor[i * size + k] * factor[j * size + k];
        EXPECT_NEAR(product, hessian.At(static_cast<int64_t>(i), static_cast<int64_t>(j)), 1e-8);
      }
    }
  }
  std::vector<double> indefinite = {1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  EXPECT_FALSE(FactorizeCholesky(indefinite.data(), 4));
  std::vector<double> nan(16, std::nan(""));
  EXPECT_FALSE(FactorizeCholesky(nan.data(), 4));
}

// The inverse Hessian by Gauss-Jordan elimination, and of that the upper Cholesky factor.
std::vector<std::vector<double>> InverseFactor(const Hessian& hessian, size_t n, double damping) {
  std::vector<std::vector<double>> a(n, std::vector<double>(2 * n));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      a[i][j] = hessian.At(static_cast<int64_t>(i), static_cast<int64_t>(j));
    }
    a[i][i] += damping * hessian.MeanDiagonal();
    a[i][n + i] = 1;
  }
  for (size_t p = 0; p < n; ++p) {
    const double pivot = a[p][p];
    for (double& value : a[p]) value /= pivot;
    for (size_t i = 0; i < n; ++i) {
      const double factor = a[i][p];
      for (size_t j = 0; i != p && j < 2 * n; ++j) a[i][j] -= factor * a[p][j];
    }
  }
  std::vector<std::vector<double>> upper(n, std::vector<double>(n));  // inverse = upper^T upper
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) {
      double value = a[i][n + j];
      for (size_t k = 0; k < i; ++k) value -= upper[k][i] * upper[k][j];
      upper[i][j] = i == j ? std::sqrt(value) : value / upper[i][i];
    }
  }
  return upper;
}

// The algorithm as its authors write it: errors are divided by the diagonal of the inverse
// Hessian's factor. Per-row scales, in double.
std::vector<int16_t> Textbook(const WeightRows& weights, const Hessian& hessian, double damping,
                              const GroupedCodes& scales) {
  const auto n = static_cast<size_t>(weights.columns);
  const std::vector<std::vector<double>> upper = InverseFactor(hessian, n, damping);
  std::vector<int16_t> codes;
  for (int64_t row = 0; row < weights.rows; ++row) {
    std::vector<double> w(weights.Row(row).begin(), weights.Row(row).end());
    for (size_t i = 0; i < n; ++i) {
      const Affine& affine = scales.QuantizerOf(row, static_cast<int64_t>(i));
      const int32_t code = CodeOf(static_cast<float>(w[i]), affine, scales.grid);
      codes.push_back(static_cast<int16_t>(code));
      const double error = (w[i] - ValueOf(code, affine)) / upper[i][i];
      for (size_t j = i; j < n; ++j) w[j] -= error * upper[i][j];
    }
  }
  return codes;
}

TEST(Gptq, IsWhatItsAuthorsDescribe) {
  for (const Grid& grid : {kSymmetricInt4, kAsymmetricUint4, kSymmetricInt8}) {
    const WeightRows weights = RandomRows(11, 30, 24);
    const Hessian hessian = HessianOf(Correlated(200, 30, 25), 30);
    const GptqOptions options{.groups = {.grid = grid, .group = 0, .estimator = "min_max"}};
    const GptqResult result = *QuantizeGptq(weights, hessian, options);
    EXPECT_FALSE(result.fell_back);
    EXPECT_EQ(result.codes.codes, Textbook(weights, hessian, options.damping, result.codes));
  }
}

TEST(Gptq, LosesLessOfTheOutputThanRounding) {
  const WeightRows weights = RandomRows(32, 96, 26);
  const std::vector<float> inputs = Correlated(400, 96, 27);
  const Hessian hessian = HessianOf(inputs, 96);
  for (const Grid& grid : {kSymmetricInt4, kAsymmetricUint4, kSymmetricInt8}) {
    for (const int64_t group : {0, 32, 40}) {
      const GroupOptions groups{.grid = grid, .group = group};
      const double rounded =
          OutputError(weights, Dequantize(*QuantizeGroups(weights, groups)), hessian);
      const GptqResult result = *QuantizeGptq(weights, hessian, {.groups = groups});
      const double feedback = OutputError(weights, Dequantize(result.codes), hessian);
      EXPECT_LT(feedback, 0.7 * rounded) << "group " << group;
      for (const int16_t code : result.codes.codes) {
        ASSERT_GE(code, grid.first);
        ASSERT_LE(code, grid.last);
      }
    }
  }
}

TEST(Gptq, MeasuresTheErrorOfTheOutputs) {
  const WeightRows weights = RandomRows(3, 5, 28);
  const std::vector<float> inputs = Normal(50 * 5, 29);
  const std::vector<float> other = Normal(15, 30);
  double expected = 0;
  for (size_t sample = 0; sample < 50; ++sample) {
    for (size_t row = 0; row < 3; ++row) {
      double error = 0;
      for (size_t i = 0; i < 5; ++i) {
        error += (weights.values[row * 5 + i] - other[row * 5 + i]) * inputs[sample * 5 + i];
      }
      expected += error * error;
    }
  }
  EXPECT_NEAR(OutputError(weights, other, HessianOf(inputs, 5)), expected, 1e-3 * expected);
}

TEST(Gptq, IsPlainRoundingForInputsThatDoNotHangTogether) {
  const WeightRows weights = RandomRows(6, 8, 31);
  std::vector<float> inputs(8 * 8);
  for (size_t i = 0; i < 8; ++i) inputs[i * 8 + i] = static_cast<float>(i + 1);
  const GroupOptions groups{.group = 4};
  const GptqResult result = *QuantizeGptq(weights, HessianOf(inputs, 8), {.groups = groups});
  EXPECT_EQ(result.codes.codes, QuantizeGroups(weights, groups)->codes);
  // Nor do inputs that were always zero ask for anything.
  const GptqResult dead =
      *QuantizeGptq(weights, HessianOf(std::vector<float>(80), 8), {.groups = groups});
  EXPECT_EQ(dead.codes.codes, QuantizeGroups(weights, groups)->codes);
}

TEST(Gptq, DampsASingularHessianMore) {
  const WeightRows weights = RandomRows(4, 16, 32);
  std::vector<float> inputs(3 * 16, 1.0f);  // rank 1
  const GptqResult result = *QuantizeGptq(weights, HessianOf(inputs, 16), {.damping = 0});
  EXPECT_FALSE(result.fell_back);
  EXPECT_GT(result.damping, 0);
  // Products that overflow cannot be mended.
  const std::vector<float> huge(64 * 16, 1e30f);
  const GptqResult rounded = *QuantizeGptq(weights, HessianOf(huge, 16), {});
  EXPECT_TRUE(rounded.fell_back);
  EXPECT_EQ(rounded.codes.codes, QuantizeGroups(weights, {})->codes);
}

TEST(Gptq, RefusesWhatItCannotQuantize) {
  const WeightRows weights = RandomRows(4, 16, 33);
  const Hessian hessian = HessianOf(Normal(320, 34), 16);
  const auto code = [](const WeightRows& rows, const Hessian& of, const GptqOptions& options) {
    return QuantizeGptq(rows, of, options).status().code();
  };
  WeightRows bad = weights;
  bad.values[20] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code(bad, hessian, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(QuantizeGptq(bad, hessian, {}).status().message()),
              HasSubstr("inf in row 1, column 4"));
  EXPECT_EQ(code(weights, Hessian(15), {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, hessian, {.damping = -1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, hessian, {.damping = std::nan("")}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, hessian, {.groups = {.group = -1}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(weights, hessian, {.groups = {.estimator = "magic"}}),
            absl::StatusCode::kNotFound);
}

// The layer's own output is what has to be near, not its weights.
TEST(RoundWithFeedback, HasASmallerOutputErrorThanRoundingEachWeight) {
  const WeightRows weights = RandomRows(6, 27, 31);
  const Hessian hessian = HessianOf(Correlated(500, 27, 32), 27);
  std::vector<float> scales;
  scales.reserve(6);
  for (int64_t row = 0; row < weights.rows; ++row) {
    scales.push_back(
        WeightRows{1, 27, {weights.Row(row).begin(), weights.Row(row).end()}}.LargestMagnitude() /
        127);
  }
  const auto codes = RoundWithFeedback(weights, scales, kSymmetricInt8, hessian, 0.01);
  ASSERT_TRUE(codes.ok()) << codes.status();
  ASSERT_TRUE(codes->has_value());
  std::vector<float> nearest, fed_back;
  for (size_t i = 0; i < weights.values.size(); ++i) {
    const Affine affine{scales[i / 27], 0};
    nearest.push_back(ValueOf(CodeOf(weights.values[i], affine, kSymmetricInt8), affine));
    fed_back.push_back(ValueOf((**codes)[i], affine));
    EXPECT_NEAR(fed_back[i], weights.values[i], 8 * affine.scale);
  }
  EXPECT_LT(OutputError(weights, fed_back, hessian), 0.5 * OutputError(weights, nearest, hessian));
}

// Rounding each weight is all there is to do where inputs do not hang together.
TEST(RoundWithFeedback, IsRoundingForIndependentInputs) {
  const WeightRows weights = RandomRows(3, 8, 33);
  std::vector<float> inputs;
  inputs.reserve(64);
  for (size_t i = 0; i < 64; ++i) inputs.push_back(i % 9 == 0 ? 1.0f : 0.0f);
  const std::vector<float> scales = {0.1f};
  const auto codes = RoundWithFeedback(weights, scales, kSymmetricInt8, HessianOf(inputs, 8), 0.01);
  ASSERT_TRUE(codes.ok() && codes->has_value()) << codes.status();
  for (size_t i = 0; i < weights.values.size(); ++i) {
    EXPECT_EQ((**codes)[i], CodeOf(weights.values[i], {0.1f, 0}, kSymmetricInt8));
  }
}

TEST(RoundWithFeedback, RefusesWhatDoesNotFit) {
  const WeightRows weights = RandomRows(3, 8, 34);
  const Hessian hessian = HessianOf(Normal(20 * 8, 35), 8);
  const auto code = [&](std::vector<float> scales, const Hessian& of, double damping) {
    return RoundWithFeedback(weights, scales, kSymmetricInt8, of, damping).status().code();
  };
  EXPECT_EQ(code({1, 1}, hessian, 0.01), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1, 0, 1}, hessian, 0.01), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, Hessian(7), 0.01), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, hessian, -1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({1}, hessian, 0.01), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace octet::quant
