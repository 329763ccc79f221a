#include "kernels/expand_weights.h"

#include <random>
#include <vector>

#include "base/data_type.h"
#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

// A matrix in one of the stored forms, with everything in it random.
class RandomNibbles {
 public:
  enum class Form { kZeroPoints, kSigned, kLevels, kLevelsByRow };

  RandomNibbles(int64_t rows, int64_t columns, int64_t group, Form form, bool grouped) {
    nibbles_ = {.rows = rows,
                .columns = columns,
                .group = group,
                .exponent = -9,
                .is_signed = form == Form::kSigned,
                .grouped = grouped,
                .levels_by_row = form == Form::kLevelsByRow};
    const auto count = static_cast<size_t>(rows * nibbles_.groups_per_row());
    codes_ = Bytes(static_cast<size_t>(rows * ((columns + 1) / 2)));
    zero_points_ = Bytes((count + 1) / 2);
    levels_ = Bytes(static_cast<size_t>(16 * rows));
    std::uniform_real_distribution<float> scale(0.5f, 2);
    for (int64_t r = 0; r < rows; ++r) {
      scales_.push_back(scale(random_));
      row_scales_.push_back(scale(random_));
    }
    for (size_t i = 0; i < count; ++i) halves_.push_back(FloatToHalf(512 * scale(random_)));
    nibbles_.codes = codes_.data();
    nibbles_.segment_scales = grouped ? reinterpret_cast<const std::byte*>(halves_.data())
                                      : reinterpret_cast<const std::byte*>(row_scales_.data());
    if (form == Form::kZeroPoints) nibbles_.zero_points = zero_points_.data();
    if (form == Form::kLevels || form == Form::kLevelsByRow) {
      nibbles_.levels = reinterpret_cast<const int8_t*>(levels_.data());
    }
    nibbles_.scales = scales_.data();
  }

  const PackedNibbles& get() const { return nibbles_; }

 private:
  std::vector<uint8_t> Bytes(size_t count) {
    std::vector<uint8_t> bytes(count);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }

  std::mt19937 random_{17};
  PackedNibbles nibbles_;
  std::vector<uint8_t> codes_, zero_points_, levels_;
  std::vector<float> scales_, row_scales_;
  std::vector<uint16_t> halves_;
};

std::vector<int8_t> OneByOne(const PackedNibbles& nibbles, int64_t rows, int64_t columns,
                             int64_t stride) {
  std::vector<int8_t> elements(static_cast<size_t>(rows * stride), 99);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      elements[static_cast<size_t>(r * stride + c)] = ExpandedElement(nibbles, r, c);
    }
  }
  return elements;
}

TEST(ExpandRows, IsTheElementsOneByOne) {
  using Form = RandomNibbles::Form;
  struct Size {
    int64_t rows, columns, group;
  };
  for (const Size size : {Size{1, 1, 1},
                          {3, 7, 7},
                          {2, 33, 32},
                          {5, 100, 32},
                          {4, 256, 128},
                          {3, 300, 128},
                          {2, 31, 31},
                          {1, 64, 64}}) {
    for (const Form form : {Form::kZeroPoints, Form::kSigned, Form::kLevels, Form::kLevelsByRow}) {
      for (const bool grouped : {true, false}) {
        if (!grouped && size.group != size.columns) continue;
        const RandomNibbles random(size.rows, size.columns, size.group, form, grouped);
        const int64_t stride = size.columns + 3;
        std::vector<int8_t> rows(static_cast<size_t>(size.rows * stride), 99);
        ExpandRows(random.get(), rows.data(), stride);
        EXPECT_EQ(rows, OneByOne(random.get(), size.rows, size.columns, stride))
            << size.columns << " by " << size.group << " form " << static_cast<int>(form);
      }
    }
  }
}

TEST(SumOfCodes, AddsThemAll) {
  std::mt19937 random(5);
  std::vector<int8_t> codes(1000);
  int32_t sum = 0;
  for (size_t count = 0; count < codes.size(); ++count) {
    ASSERT_EQ(SumOfCodes(codes.data(), static_cast<int64_t>(count)), sum);
    codes[count] = count % 3 == 0 ? -128 : static_cast<int8_t>(random());
    sum += codes[count];
  }
}

// By hand: two rows of three columns, the low nibble first; zero points 3 and 8.
TEST(ExpandedElement, IsTheCodeLessTheZeroPointInStepsOfTheRow) {
  const std::vector<uint8_t> codes = {0x50, 0x0f, 0x8c, 0x01};
  const std::vector<uint8_t> zero_points = {0x83};
  const std::vector<uint16_t> halves = {FloatToHalf(2), FloatToHalf(1)};
  const std::vector<float> scales = {0.25f, 0.5f};
  const PackedNibbles nibbles = {
      .rows = 2,
      .columns = 3,
      .group = 3,
      .exponent = 1,
      .grouped = true,
      .codes = codes.data(),
      .segment_scales = reinterpret_cast<const std::byte*>(halves.data()),
      .zero_points = zero_points.data(),
      .scales = scales.data()};
  // Steps of 4 and 2: -3, 2, 12 of 4 in 0.25; 4, 0, -7 of 2 in 0.5.
  const int expected[2][3] = {{-48, 32, 127}, {16, 0, -28}};
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t c = 0; c < 3; ++c) EXPECT_EQ(ExpandedElement(nibbles, r, c), expected[r][c]);
  }
}

}  // namespace
}  // namespace octet::kernels
