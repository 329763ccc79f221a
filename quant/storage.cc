#include "quant/storage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/data_type.h"
#include "base/status.h"

namespace octet::quant {
namespace {

constexpr size_t kLevels = 16;
constexpr size_t kWideLevels = 256;
constexpr int kFewestExponent = -200;
constexpr int kMostExponent = 200;

struct Sizes {
  size_t codes = 0;
  size_t row_scales = 0;
  size_t group_scales = 0;
  size_t zero_points = 0;
  size_t levels = 0;
  size_t wide_levels = 0;

  bool operator==(const Sizes&) const = default;
};

bool HasGroups(StorageFormat format) {
  return format == StorageFormat::kInt4Groups || format == StorageFormat::kUint4Groups ||
         format == StorageFormat::kCodebookGroups;
}

bool HasBytes(StorageFormat format) {
  return format == StorageFormat::kInt8Rows || format == StorageFormat::kWideCodebook;
}

size_t BytesPerRow(StorageFormat format, int64_t columns) {
  const auto count = static_cast<size_t>(columns);
  return HasBytes(format) ? count : (count + 1) / 2;
}

Sizes SizesFor(const StoredWeights& weights) {
  const auto rows = static_cast<size_t>(weights.rows);
  const auto groups = static_cast<size_t>(weights.groups_per_row());
  Sizes sizes{.codes = rows * BytesPerRow(weights.format, weights.columns)};
  if (HasGroups(weights.format)) sizes.group_scales = rows * groups;
  switch (weights.format) {
    case StorageFormat::kInt8Rows:
      sizes.row_scales = rows;
      break;
    case StorageFormat::kInt4Groups:
      break;
    case StorageFormat::kUint4Groups:
      sizes.zero_points = (rows * groups + 1) / 2;
      break;
    case StorageFormat::kCodebookRows:
      sizes.row_scales = rows;
      sizes.levels = rows * kLevels;
      break;
    case StorageFormat::kCodebookTensor:
      sizes.row_scales = rows;
      sizes.levels = kLevels;
      break;
    case StorageFormat::kCodebookGroups:
      sizes.levels = kLevels;
      break;
    case StorageFormat::kWideCodebook:
      sizes.wide_levels = kWideLevels;
      break;
  }
  return sizes;
}

Sizes SizesOf(const StoredWeights& weights) {
  return {.codes = weights.codes.size(),
          .row_scales = weights.row_scales.size(),
          .group_scales = weights.group_scales.size(),
          .zero_points = weights.zero_points.size(),
          .levels = weights.levels.size(),
          .wide_levels = weights.wide_levels.size()};
}

float ScaleFromHalf(uint16_t half, int exponent) { return std::ldexp(HalfToFloat(half), exponent); }

absl::Status CheckScales(const StoredWeights& weights) {
  for (size_t i = 0; i < weights.row_scales.size(); ++i) {
    if (std::isfinite(weights.row_scales[i]) && weights.row_scales[i] >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("expected finite scales of at least 0, found ",
                                                   weights.row_scales[i], " for row ", i));
  }
  for (size_t i = 0; i < weights.group_scales.size(); ++i) {
    const float scale = ScaleFromHalf(weights.group_scales[i], weights.exponent);
    if (std::isfinite(scale) && scale >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite scales of at least 0, found ", scale, " for group ", i));
  }
  for (size_t i = 0; i < weights.wide_levels.size(); ++i) {
    const float level = ScaleFromHalf(weights.wide_levels[i], weights.exponent);
    if (std::isfinite(level)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite levels, found ", level, " at index ", i));
  }
  return absl::OkStatus();
}

// Dequantizes one row after the other.
class RowReader {
 public:
  explicit RowReader(const StoredWeights& weights)
      : weights_(weights), codes_(static_cast<size_t>(weights.columns)) {
    const auto groups = static_cast<size_t>(weights.rows * weights.groups_per_row());
    if (weights.format == StorageFormat::kUint4Groups) {
      zero_points_.resize(groups);
      UnpackNibbles(weights.zero_points, zero_points_);
    }
  }

  std::span<const uint8_t> Codes(int64_t row) {
    const size_t bytes = BytesPerRow(weights_.format, weights_.columns);
    const auto packed = std::span(weights_.codes).subspan(static_cast<size_t>(row) * bytes, bytes);
    if (HasBytes(weights_.format)) return packed;
    UnpackNibbles(packed, codes_);
    return codes_;
  }

  // The whole number that a code of an 8-bit or codebook format with row or group scales means.
  int32_t StepsOf(int64_t row, uint8_t code) const {
    switch (weights_.format) {
      case StorageFormat::kInt8Rows:
        return static_cast<int8_t>(code);
      case StorageFormat::kInt4Groups:
        return code < 8 ? code : code - 16;
      case StorageFormat::kCodebookRows:
        return weights_.levels[static_cast<size_t>(row) * kLevels + code];
      default:
        return weights_.levels[code];
    }
  }

  void Read(int64_t row, std::span<float> values) {
    const std::span<const uint8_t> codes = Codes(row);
    const int64_t group = HasGroups(weights_.format) ? weights_.group : weights_.columns;
    for (size_t i = 0; i < codes.size(); ++i) {
      if (weights_.format == StorageFormat::kWideCodebook) {
        values[i] = ScaleFromHalf(weights_.wide_levels[codes[i]], weights_.exponent);
        continue;
      }
      if (!HasGroups(weights_.format)) {
        values[i] = weights_.row_scales[static_cast<size_t>(row)] *
                    static_cast<float>(StepsOf(row, codes[i]));
        continue;
      }
      const size_t index =
          static_cast<size_t>(row * weights_.groups_per_row()) + i / static_cast<size_t>(group);
      const int32_t steps = weights_.format == StorageFormat::kUint4Groups
                                ? codes[i] - zero_points_[index]
                                : StepsOf(row, codes[i]);
      values[i] = ScaleFromHalf(weights_.group_scales[index], weights_.exponent) *
                  static_cast<float>(steps);
    }
  }

 private:
  const StoredWeights& weights_;
  std::vector<uint8_t> codes_;
  std::vector<uint8_t> zero_points_;
};

}  // namespace

absl::string_view Name(StorageFormat format) {
  switch (format) {
    case StorageFormat::kInt8Rows:
      return "s8c";
    case StorageFormat::kInt4Groups:
      return "s4g";
    case StorageFormat::kUint4Groups:
      return "u4g";
    case StorageFormat::kCodebookRows:
      return "cb4c";
    case StorageFormat::kCodebookTensor:
      return "cb4t";
    case StorageFormat::kCodebookGroups:
      return "cb4g";
    case StorageFormat::kWideCodebook:
      return "cb8t";
  }
  return "unknown";
}

size_t StoredWeights::bytes() const {
  return codes.size() + row_scales.size() * sizeof(float) + group_scales.size() * sizeof(uint16_t) +
         zero_points.size() + levels.size() + wide_levels.size() * sizeof(uint16_t);
}

void PackNibbles(std::span<const uint8_t> codes, std::span<uint8_t> nibbles) {
  std::fill(nibbles.begin(), nibbles.end(), uint8_t{0});
  for (size_t i = 0; i < codes.size(); ++i) {
    nibbles[i / 2] |= static_cast<uint8_t>((codes[i] & 15) << (i % 2 * 4));
  }
}

void UnpackNibbles(std::span<const uint8_t> nibbles, std::span<uint8_t> codes) {
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<uint8_t>(nibbles[i / 2] >> (i % 2 * 4) & 15);
  }
}

absl::Status Check(const StoredWeights& weights) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 64;
  if (weights.format > StorageFormat::kWideCodebook) {
    return absl::InvalidArgumentError(absl::StrCat(
        "storage format ", static_cast<int>(weights.format), " is none that is known"));
  }
  if (weights.rows <= 0 || weights.columns <= 0 || weights.rows > kMost / weights.columns) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at least one weight, found ", weights.rows, " x ", weights.columns));
  }
  if (HasGroups(weights.format) != (weights.group > 0) || weights.group > weights.columns ||
      weights.group < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("groups of ", weights.group, " columns do not fit format ",
                     Name(weights.format), " with ", weights.columns, " columns"));
  }
  if (weights.exponent < kFewestExponent || weights.exponent > kMostExponent) {
    return absl::InvalidArgumentError(absl::StrCat("exponent ", weights.exponent, " is outside ",
                                                   kFewestExponent, " to ", kMostExponent));
  }
  if (SizesOf(weights) != SizesFor(weights)) {
    return absl::InvalidArgumentError(absl::StrCat("the arrays do not have the sizes of ",
                                                   weights.rows, " x ", weights.columns,
                                                   " weights in format ", Name(weights.format)));
  }
  return CheckScales(weights);
}

absl::StatusOr<std::vector<float>> Dequantize(const StoredWeights& weights) {
  OCTET_RETURN_IF_ERROR(Check(weights));
  RowReader reader(weights);
  const auto columns = static_cast<size_t>(weights.columns);
  std::vector<float> values(static_cast<size_t>(weights.rows) * columns);
  for (int64_t row = 0; row < weights.rows; ++row) {
    reader.Read(row, std::span(values).subspan(static_cast<size_t>(row) * columns, columns));
  }
  return values;
}

absl::StatusOr<Int8Rows> ExpandToInt8(const StoredWeights& weights, const Grid& grid) {
  OCTET_RETURN_IF_ERROR(Check(weights));
  RowReader reader(weights);
  const auto columns = static_cast<size_t>(weights.columns);
  Int8Rows result;
  result.codes.reserve(static_cast<size_t>(weights.rows) * columns);
  const bool as_stored = !weights.row_scales.empty() && grid == kSymmetricInt8;
  if (as_stored) result.scales = weights.row_scales;
  std::vector<float> values(columns);
  for (int64_t row = 0; row < weights.rows; ++row) {
    if (as_stored) {
      for (const uint8_t code : reader.Codes(row)) {
        result.codes.push_back(static_cast<int8_t>(reader.StepsOf(row, code)));
      }
      continue;
    }
    reader.Read(row, values);
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(value));
    const Affine affine = AffineFor({-largest, largest}, grid);
    const size_t begin = result.codes.size();
    result.codes.resize(begin + columns);
    Quantize(values, affine, grid, std::span(result.codes).subspan(begin));
    result.scales.push_back(affine.scale);
  }
  return result;
}

}  // namespace octet::quant
