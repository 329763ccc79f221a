#include "quant/storage.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/codebook.h"
#include "quant/measures.h"

namespace octet::quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Rows of very different sizes, as those of real layers are.
WeightRows RandomRows(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  WeightRows result{rows, columns, {}};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < columns; ++i) {
      result.values.push_back(std::ldexp(normal(random), static_cast<int>(row % 5) - 2));
    }
  }
  return result;
}

constexpr StorageFormat kCodebookFormats[] = {
    StorageFormat::kCodebookRows, StorageFormat::kCodebookTensor, StorageFormat::kCodebookGroups,
    StorageFormat::kWideCodebook};

TEST(Nibbles, HaveTheFirstElementLow) {
  const std::vector<uint8_t> codes = {1, 15, 7, 0, 9};
  std::vector<uint8_t> nibbles(3, 0xff);
  PackNibbles(codes, nibbles);
  EXPECT_THAT(nibbles, ElementsAre(0xf1, 0x07, 0x09));
  std::vector<uint8_t> back(5);
  UnpackNibbles(nibbles, back);
  EXPECT_EQ(back, codes);
}

// Every stored form decodes to what its codes mean, also with rows and groups of odd lengths.
TEST(StoredGroups, DecodeToTheGroupsTheyAreOf) {
  for (const Grid& grid : {kSymmetricInt4, kAsymmetricUint4}) {
    for (const int64_t group : {0, 1, 7, 32, 64, 128}) {
      const WeightRows weights = RandomRows(9, 101, 41);
      const GroupedCodes codes = *QuantizeGroups(weights, {.grid = grid, .group = group});
      const StoredWeights stored = *StoreGroups(codes);
      EXPECT_EQ(*Dequantize(stored), Dequantize(codes)) << group;
    }
  }
}

TEST(StoredGroups, AreFinerThanRowsAndTakeTheBytesTheyShould) {
  const WeightRows weights = RandomRows(8, 768, 42);
  const auto sqnr = [&](int64_t group, const Grid& grid) {
    const StoredWeights stored =
        *StoreGroups(*QuantizeGroups(weights, {.grid = grid, .group = group}));
    return Sqnr(weights.values, *Dequantize(stored));
  };
  EXPECT_GT(sqnr(128, kSymmetricInt4), sqnr(0, kSymmetricInt4));
  EXPECT_GT(sqnr(32, kSymmetricInt4), sqnr(128, kSymmetricInt4));
  EXPECT_GT(sqnr(32, kAsymmetricUint4), sqnr(32, kSymmetricInt4) + 0.5);
  const auto bits = [&](int64_t group, const Grid& grid) {
    const StoredWeights stored =
        *StoreGroups(*QuantizeGroups(weights, {.grid = grid, .group = group}));
    return 8.0 * static_cast<double>(stored.bytes()) / (8 * 768);
  };
  EXPECT_DOUBLE_EQ(bits(128, kSymmetricInt4), 4 + 16.0 / 128);
  EXPECT_DOUBLE_EQ(bits(128, kAsymmetricUint4), 4 + 20.0 / 128);
  EXPECT_DOUBLE_EQ(bits(32, kAsymmetricUint4), 4 + 20.0 / 32);
}

TEST(StoredGroups, TakeWeightsOfAnySize) {
  for (const float unit : {1e-42f, 1e-30f, 1e-10f, 1e10f, 1e30f}) {
    WeightRows weights = RandomRows(6, 64, 43);
    for (float& value : weights.values) value *= unit;
    std::fill_n(weights.values.begin() + 64, 64, 0.0f);
    for (const Grid& grid : {kSymmetricInt4, kAsymmetricUint4}) {
      const absl::StatusOr<StoredWeights> stored =
          StoreGroups(*QuantizeGroups(weights, {.grid = grid, .group = 32}));
      ASSERT_TRUE(stored.ok()) << stored.status();
      const std::vector<float> back = *Dequantize(*stored);
      if (unit > 1e-25f) {
        EXPECT_GT(Sqnr(weights.values, back), 16) << unit;
      }
      for (size_t i = 64; i < 128; ++i) ASSERT_EQ(back[i], 0);
    }
  }
}

TEST(StoredCodebooks, TakeTheBytesTheyShould) {
  const WeightRows weights = RandomRows(16, 768, 44);
  const auto bytes = [&](StorageFormat format) {
    return StoreCodebook(weights, {.format = format, .algorithm = "decision_tree"})->bytes();
  };
  EXPECT_EQ(bytes(StorageFormat::kCodebookRows), 16u * (384 + 16 + 4));
  EXPECT_EQ(bytes(StorageFormat::kCodebookTensor), 16u * (384 + 4) + 16);
  EXPECT_EQ(bytes(StorageFormat::kCodebookGroups), 16u * (384 + 6 * 2) + 16);
  EXPECT_EQ(bytes(StorageFormat::kWideCodebook), 16u * 768 + 512);
}

TEST(StoredCodebooks, BeatUniformCodesOfAsManyBits) {
  const WeightRows weights = RandomRows(12, 512, 45);
  const StoredWeights uniform =
      *StoreGroups(*QuantizeGroups(weights, {.grid = kSymmetricInt4, .group = 0}));
  const double uniform_db = Sqnr(weights.values, *Dequantize(uniform));
  for (const char* algorithm : {"least_squares", "decision_tree", "histogram_equalization"}) {
    for (const StorageFormat format : kCodebookFormats) {
      const StoredWeights stored =
          *StoreCodebook(weights, {.format = format, .algorithm = algorithm, .group = 128});
      EXPECT_GT(Sqnr(weights.values, *Dequantize(stored)), uniform_db + 0.2)
          << algorithm << " " << Name(format);
    }
  }
}

TEST(StoredCodebooks, LoseLittleByRoundingTheLevels) {
  const WeightRows weights = RandomRows(1, 4000, 46);
  const StoredWeights stored = *StoreCodebook(weights, {});
  const Codebook codebook = *FitCodebook("least_squares", weights.values, {}, 4, {});
  std::vector<uint8_t> codes(4000);
  std::vector<float> exact(4000);
  Encode(weights.values, codebook, codes);
  Decode(codes, codebook, exact);
  EXPECT_GT(Sqnr(weights.values, *Dequantize(stored)), Sqnr(weights.values, exact) - 0.2);
}

TEST(StoredCodebooks, TakeRowsOfZeroesAndFewValues) {
  for (const StorageFormat format : kCodebookFormats) {
    const WeightRows zeros{3, 5, std::vector<float>(15)};
    EXPECT_EQ(*Dequantize(*StoreCodebook(zeros, {.format = format})), zeros.values);
    const WeightRows few{2, 4, {1, -1, 0, 1, 0, 0, 0, 0}};
    EXPECT_GT(Sqnr(few.values, *Dequantize(*StoreCodebook(few, {.format = format}))), 70);
    WeightRows huge = RandomRows(3, 40, 47);
    for (float& value : huge.values) value *= 1e30f;
    EXPECT_GT(Sqnr(huge.values, *Dequantize(*StoreCodebook(huge, {.format = format}))), 15);
  }
}

TEST(StoredWeights, ExpandToRowsOfInt8) {
  const WeightRows weights = RandomRows(7, 65, 48);
  std::vector<StoredWeights> all = {
      *StoreGroups(*QuantizeGroups(weights, {.grid = kSymmetricInt4, .group = 32})),
      *StoreGroups(*QuantizeGroups(weights, {.grid = kAsymmetricUint4, .group = 32}))};
  for (const StorageFormat format : kCodebookFormats) {
    all.push_back(*StoreCodebook(weights, {.format = format, .group = 32}));
  }
  for (const StoredWeights& stored : all) {
    const std::vector<float> values = *Dequantize(stored);
    const Int8Rows expanded = *ExpandToInt8(stored);
    ASSERT_EQ(expanded.codes.size(), values.size());
    ASSERT_EQ(expanded.scales.size(), 7u);
    std::vector<float> back;
    back.reserve(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      back.push_back(expanded.scales[i / 65] * static_cast<float>(expanded.codes[i]));
    }
    if (stored.row_scales.empty()) {
      EXPECT_GT(Sqnr(values, back), 38) << Name(stored.format);
    } else {
      EXPECT_EQ(back, values) << Name(stored.format);
    }
  }
}

// What a damaged file could hold.
TEST(StoredWeights, AreCheckedBeforeUse) {
  const WeightRows weights = RandomRows(4, 10, 49);
  const StoredWeights good = *StoreGroups(*QuantizeGroups(weights, {.group = 4}));
  ASSERT_TRUE(Check(good).ok());
  const std::function<void(StoredWeights&)> damages[] = {
      [](StoredWeights& w) { w.codes.pop_back(); },
      [](StoredWeights& w) { w.codes.push_back(0); },
      [](StoredWeights& w) { w.group_scales.pop_back(); },
      [](StoredWeights& w) { w.zero_points.clear(); },
      [](StoredWeights& w) { w.rows = -4; },
      [](StoredWeights& w) { w.columns = std::numeric_limits<int64_t>::max(); },
      [](StoredWeights& w) { w.group = 0; },
      [](StoredWeights& w) { w.group = 11; },
      [](StoredWeights& w) { w.exponent = 100000; },
      [](StoredWeights& w) { w.group_scales[0] = 0x7c00; },  // infinity
      [](StoredWeights& w) { w.group_scales[0] = 0xbc00; },  // -1
      [](StoredWeights& w) { w.format = StorageFormat::kCodebookRows; },
      [](StoredWeights& w) { w.format = static_cast<StorageFormat>(99); },
  };
  for (const auto& damage : damages) {
    StoredWeights bad = good;
    damage(bad);
    EXPECT_EQ(Dequantize(bad).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ExpandToInt8(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// Faults in packing that the decoded weights must show.
TEST(StoredWeights, ShowFaultsOfPacking) {
  const WeightRows weights = RandomRows(5, 33, 50);
  const StoredWeights good = *StoreGroups(*QuantizeGroups(weights, {.group = 8}));
  const double expected = Sqnr(weights.values, *Dequantize(good));
  EXPECT_GT(expected, 18);
  const std::function<void(StoredWeights&)> faults[] = {
      [](StoredWeights& w) {  // nibbles in the other order
        for (uint8_t& byte : w.codes) byte = static_cast<uint8_t>(byte << 4 | byte >> 4);
      },
      [](StoredWeights& w) {
        for (uint8_t& byte : w.zero_points) byte = static_cast<uint8_t>(byte << 4 | byte >> 4);
      },
      [](StoredWeights& w) { w.exponent += 1; },  // scales doubled
      [](StoredWeights& w) {                      // the other sign of the zero point
        for (uint8_t& byte : w.zero_points) byte = static_cast<uint8_t>(~byte);
      },
      [](StoredWeights& w) { std::rotate(w.codes.begin(), w.codes.begin() + 1, w.codes.end()); },
  };
  for (const auto& fault : faults) {
    StoredWeights bad = good;
    fault(bad);
    EXPECT_LT(Sqnr(weights.values, *Dequantize(bad)), expected - 3);
  }
}

TEST(StoredWeights, RefuseWhatTheyCannotHold) {
  const WeightRows weights = RandomRows(2, 8, 51);
  EXPECT_EQ(StoreGroups(*QuantizeGroups(weights, {.grid = kSymmetricInt8})).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StoreCodebook(weights, {.format = StorageFormat::kInt4Groups}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StoreCodebook(weights, {.algorithm = "min_max"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StoreCodebook(weights, {.algorithm = "magic"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(StoreCodebook(weights, {.format = StorageFormat::kCodebookGroups, .group = 0})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(QuantizeGroups({2, 3, std::vector<float>(5)}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WeightRows, ArePutBackWhereTheyCameFrom) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, {3, 4, 2});
  for (int i = 0; i < 24; ++i)
    tensor.MutableAs<float>()[static_cast<size_t>(i)] = static_cast<float>(i);
  for (const std::optional<int> axis : {std::optional<int>(), std::optional<int>(0),
                                        std::optional<int>(1), std::optional<int>(2)}) {
    const WeightRows rows = *RowsOf(tensor.view(), axis);
    EXPECT_EQ(rows.rows, axis.has_value() ? tensor.shape()[*axis] : 1);
    const std::vector<int8_t> codes(rows.values.begin(), rows.values.end());
    const Tensor back = *CodesLike(tensor.shape(), axis, codes);
    for (size_t i = 0; i < 24; ++i) EXPECT_EQ(back.As<int8_t>()[i], static_cast<int8_t>(i));
  }
  EXPECT_THAT(RowsOf(tensor.view(), 1)->Row(1), ElementsAre(2, 3, 10, 11, 18, 19));
  tensor.MutableAs<float>()[9] = std::nanf("");
  EXPECT_THAT(std::string(RowsOf(tensor.view(), 0).status().message()),
              HasSubstr("nan in row 1, column 1"));
  EXPECT_EQ(RowsOf(tensor.view(), 3).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace octet::quant
