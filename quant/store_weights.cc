// Weights into their stored forms; see storage.h.

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/data_type.h"
#include "base/status.h"
#include "quant/codebook.h"
#include "quant/storage.h"

namespace octet::quant {
namespace {

constexpr size_t kLevels = 16;
constexpr size_t kWideLevels = 256;
constexpr float kInt8Steps = 127;

float LargestOf(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

uint16_t HalfOf(float value, int exponent) { return FloatToHalf(std::ldexp(value, -exponent)); }

// Fits one codebook to segments of a row, each divided by its unit: what its levels are times.
class SegmentFit {
 public:
  // `importance` is of the values, or empty.
  void Add(std::span<const float> values, std::span<const float> importance, float unit) {
    if (unit == 0) return;
    const double share = static_cast<double>(unit) / largest_;
    for (size_t i = 0; i < values.size(); ++i) {
      values_.push_back(std::clamp(values[i] / unit, -1.0f, 1.0f));
      const double counts = importance.empty() ? 1 : importance[i];
      weights_.push_back(static_cast<float>(counts * share * share));
    }
  }

  // 16 int8 levels in units of 1 / 127, ascending, the last one repeated to fill the table.
  absl::StatusOr<std::vector<int8_t>> Levels(const CodebookOptions& options) const {
    std::vector<int8_t> levels;
    if (std::any_of(weights_.begin(), weights_.end(), [](float weight) { return weight > 0; })) {
      OCTET_ASSIGN_OR_RETURN(
          const Codebook codebook,
          FitCodebook(options.algorithm, values_, weights_, 4, options.estimator_options));
      for (const float level : codebook.levels) {
        levels.push_back(static_cast<int8_t>(std::nearbyint(level * kInt8Steps)));
      }
    }
    levels.resize(kLevels, levels.empty() ? int8_t{0} : levels.back());
    return levels;
  }

  explicit SegmentFit(float largest) : largest_(largest) {}

 private:
  const float largest_;
  std::vector<float> values_;
  std::vector<float> weights_;
};

// The codes of the levels nearest to values that are divided by `unit`.
void EncodeSegment(std::span<const float> values, float unit, std::span<const int8_t> levels,
                   std::span<uint8_t> codes) {
  std::vector<double> steps(levels.begin(), levels.end());
  const Codebook codebook = NearestLevels(steps);
  // Levels that rounding has made equal are one in the codebook: `position` is the first of them.
  std::vector<uint8_t> position;
  for (const float level : codebook.levels) {
    const auto found = std::find(levels.begin(), levels.end(), static_cast<int8_t>(level));
    position.push_back(static_cast<uint8_t>(found - levels.begin()));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const float scaled = unit > 0 ? values[i] / unit * kInt8Steps : 0.0f;
    uint8_t code = 0;
    Encode(std::span(&scaled, 1), codebook, std::span(&code, 1));
    codes[i] = position[code];
  }
}

class CodebookStorer {
 public:
  CodebookStorer(const WeightRows& weights, const CodebookOptions& options)
      : weights_(weights), options_(options), largest_(weights.LargestMagnitude()) {
    result_.format = options.format;
    result_.rows = weights.rows;
    result_.columns = weights.columns;
    if (options.format == StorageFormat::kCodebookGroups) {
      result_.group = std::min(options.group, weights.columns);
      result_.exponent = ScaleExponent(largest_);
    }
  }

  absl::StatusOr<StoredWeights> Run() {
    ChooseUnits();
    if (options_.format == StorageFormat::kCodebookRows) {
      for (int64_t row = 0; row < weights_.rows; ++row) OCTET_RETURN_IF_ERROR(Fit(row, row + 1));
    } else {
      OCTET_RETURN_IF_ERROR(Fit(0, weights_.rows));
    }
    EncodeRows();
    return std::move(result_);
  }

 private:
  size_t SegmentLength() const {
    return static_cast<size_t>(result_.group > 0 ? result_.group : weights_.columns);
  }

  // Calls visit(unit, values, first column) for the segments of a row.
  template <typename Visit>
  void ForEachSegment(int64_t row, const Visit& visit) const {
    const std::span<const float> values = weights_.Row(row);
    const size_t length = SegmentLength();
    const size_t segments = (values.size() + length - 1) / length;
    for (size_t i = 0; i < segments; ++i) {
      const size_t begin = i * length;
      visit(units_[static_cast<size_t>(row) * segments + i],
            values.subspan(begin, std::min(length, values.size() - begin)), begin);
    }
  }

  // A segment's largest magnitude is 127 scales, as the scale is stored.
  void ChooseUnits() {
    const size_t length = SegmentLength();
    for (int64_t row = 0; row < weights_.rows; ++row) {
      const std::span<const float> values = weights_.Row(row);
      for (size_t begin = 0; begin < values.size(); begin += length) {
        const float largest =
            LargestOf(values.subspan(begin, std::min(length, values.size() - begin)));
        float scale = largest > 0 ? std::max(largest / kInt8Steps, kSmallestScale) : 0.0f;
        if (result_.group > 0) {
          const uint16_t half = HalfOf(scale, result_.exponent);
          result_.group_scales.push_back(half);
          scale = std::ldexp(HalfToFloat(half), result_.exponent);
        } else {
          result_.row_scales.push_back(scale);
        }
        units_.push_back(scale * kInt8Steps);
      }
    }
  }

  absl::Status Fit(int64_t first, int64_t end) {
    SegmentFit fit(largest_);
    for (int64_t row = first; row < end; ++row) {
      ForEachSegment(row, [&](float unit, std::span<const float> values, size_t begin) {
        fit.Add(values, weights_.Importance(begin, values.size()), unit);
      });
    }
    OCTET_ASSIGN_OR_RETURN(const std::vector<int8_t> levels, fit.Levels(options_));
    result_.levels.insert(result_.levels.end(), levels.begin(), levels.end());
    return absl::OkStatus();
  }

  void EncodeRows() {
    const auto columns = static_cast<size_t>(weights_.columns);
    const size_t bytes = (columns + 1) / 2;
    result_.codes.resize(static_cast<size_t>(weights_.rows) * bytes);
    std::vector<uint8_t> codes(columns);
    for (int64_t row = 0; row < weights_.rows; ++row) {
      const size_t table =
          options_.format == StorageFormat::kCodebookRows ? static_cast<size_t>(row) * kLevels : 0;
      const auto levels = std::span<const int8_t>(result_.levels).subspan(table, kLevels);
      ForEachSegment(row, [&](float unit, std::span<const float> values, size_t begin) {
        EncodeSegment(values, unit, levels, std::span(codes).subspan(begin, values.size()));
      });
      PackNibbles(codes, std::span(result_.codes).subspan(static_cast<size_t>(row) * bytes, bytes));
    }
  }

  const WeightRows& weights_;
  const CodebookOptions& options_;
  const float largest_;
  std::vector<float> units_;  // per segment: its largest magnitude, as far as scales can say
  StoredWeights result_;
};

absl::StatusOr<StoredWeights> StoreWide(const WeightRows& weights, const CodebookOptions& options) {
  OCTET_ASSIGN_OR_RETURN(const Codebook codebook, FitCodebook(options.algorithm, weights.values, {},
                                                              8, options.estimator_options));
  StoredWeights result{.format = StorageFormat::kWideCodebook,
                       .rows = weights.rows,
                       .columns = weights.columns,
                       .exponent = ScaleExponent(weights.LargestMagnitude())};
  // As float16 rounds them, for the codes to be of the nearest; equal ones are joined.
  std::vector<double> levels;
  levels.reserve(codebook.levels.size());
  for (const float level : codebook.levels) {
    levels.push_back(std::ldexp(HalfToFloat(HalfOf(level, result.exponent)), result.exponent));
  }
  const Codebook stored = NearestLevels(levels);
  for (const float level : stored.levels) {
    result.wide_levels.push_back(HalfOf(level, result.exponent));
  }
  result.wide_levels.resize(kWideLevels, result.wide_levels.back());
  result.codes.resize(weights.values.size());
  Encode(weights.values, stored, result.codes);
  return result;
}

}  // namespace

absl::StatusOr<StoredWeights> StoreGroups(const GroupedCodes& codes) {
  const bool is_signed = codes.grid == kSymmetricInt4;
  if (!is_signed && !(codes.grid == kAsymmetricUint4)) {
    return absl::InvalidArgumentError(absl::StrCat("expected a 4-bit grid, found codes ",
                                                   codes.grid.first, " to ", codes.grid.last));
  }
  StoredWeights result{
      .format = is_signed ? StorageFormat::kInt4Groups : StorageFormat::kUint4Groups,
      .rows = codes.rows,
      .columns = codes.columns,
      .group = codes.group,
      .exponent = codes.exponent};
  std::vector<uint8_t> zero_points;
  for (const Affine& quantizer : codes.quantizers) {
    result.group_scales.push_back(HalfOf(quantizer.scale, codes.exponent));
    zero_points.push_back(static_cast<uint8_t>(quantizer.zero_point));
  }
  if (!is_signed) {
    result.zero_points.resize((zero_points.size() + 1) / 2);
    PackNibbles(zero_points, result.zero_points);
  }
  const auto columns = static_cast<size_t>(codes.columns);
  const size_t bytes = (columns + 1) / 2;
  result.codes.resize(static_cast<size_t>(codes.rows) * bytes);
  std::vector<uint8_t> row_codes(columns);
  for (size_t row = 0; row < static_cast<size_t>(codes.rows); ++row) {
    for (size_t i = 0; i < columns; ++i) {
      row_codes[i] = static_cast<uint8_t>(codes.codes[row * columns + i] & 15);
    }
    PackNibbles(row_codes, std::span(result.codes).subspan(row * bytes, bytes));
  }
  OCTET_RETURN_IF_ERROR(Check(result));
  return result;
}

absl::StatusOr<StoredWeights> StoreCodebook(const WeightRows& weights,
                                            const CodebookOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckRows(weights));
  switch (options.format) {
    case StorageFormat::kWideCodebook:
      return StoreWide(weights, options);
    case StorageFormat::kCodebookGroups:
      if (options.group < 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected a group of at least 1 column, not ", options.group));
      }
      [[fallthrough]];
    case StorageFormat::kCodebookRows:
    case StorageFormat::kCodebookTensor: {
      OCTET_ASSIGN_OR_RETURN(const RangeEstimator algorithm, FindRangeEstimator(options.algorithm));
      if (algorithm.fit_codebook != nullptr) return CodebookStorer(weights, options).Run();
      return absl::InvalidArgumentError(
          absl::StrCat("'", options.algorithm, "' has no codebook form"));
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("format ", Name(options.format), " has no codebook"));
  }
}

}  // namespace octet::quant
