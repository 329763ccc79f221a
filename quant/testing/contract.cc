#include "quant/testing/contract.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace octet::quant::testing {
namespace {

std::vector<float> Times(std::vector<float> values, float factor) {
  for (float& value : values) value *= factor;
  return values;
}

std::vector<float> Shuffled(std::vector<float> values) {
  std::shuffle(values.begin(), values.end(), std::mt19937(99));
  return values;
}

std::vector<float> Sorted(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  return values;
}

double SumSquares(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

double Magnitude(const std::vector<float>& values) {
  double magnitude = 0;
  for (const float value : values) magnitude = std::max<double>(magnitude, std::abs(value));
  return magnitude;
}

class AffineCheck {
 public:
  AffineCheck(const AffineSubject& subject, Target target, const Grid& grid,
              const std::vector<float>& values)
      : subject_(subject), target_(target), grid_(grid), values_(values) {}

  Violations Run() {
    const absl::StatusOr<AffineSubject::Choice> choice = Choose(values_);
    Expect(choice.ok(), "succeeds");
    if (!choice.ok()) return violations_;
    range_ = choice->range;
    affine_ = choice->affine;
    CheckChoice();
    if (violations_.contains("scale is usable")) return violations_;
    CheckSpan();
    CheckCodes();
    CheckValues();
    CheckSymmetries();
    CheckError();
    return violations_;
  }

 private:
  void Expect(bool holds, const char* promise) {
    if (!holds) violations_.insert(promise);
  }

  template <typename Function>
  auto WithDistribution(const std::vector<float>& values, const Function& function) const {
    if (target_ == Target::kWeights) return function(*Distribution::Of(values));
    Histogram histogram;
    histogram.AddSample(values);
    return function(*Distribution::Of(histogram));
  }

  absl::StatusOr<AffineSubject::Choice> Choose(const std::vector<float>& values) const {
    return WithDistribution(values,
                            [&](const Distribution& seen) { return subject_.choose(seen, grid_); });
  }

  // So small a range cannot be told from zero: scales have a lower limit.
  bool ScaleIsLimited() const { return affine_.scale <= kSmallestScale; }

  void CheckChoice() {
    Expect(std::isfinite(range_.low) && std::isfinite(range_.high) && range_.low <= 0 &&
               range_.high >= 0,
           "range contains zero");
    const double largest = 1.1 * Magnitude(values_);
    Expect(-range_.low <= largest && range_.high <= largest, "range stays near the values");
    Expect(std::isfinite(affine_.scale) && affine_.scale >= kSmallestScale, "scale is usable");
    Expect(affine_.zero_point >= grid_.first && affine_.zero_point <= grid_.last,
           "zero point is a code");
    Expect(!grid_.symmetric || affine_.zero_point == 0, "symmetric zero point is 0");
    const absl::StatusOr<AffineSubject::Choice> again = Choose(values_);
    Expect(again.ok() && again->range == range_ && again->affine == affine_, "is deterministic");
  }

  // The grid covers the range, and not much more.
  void CheckSpan() {
    if (range_ == Range()) {
      Expect(affine_.scale == 1, "grid spans the range");
      return;
    }
    if (ScaleIsLimited()) return;
    const Range covered = RangeOf(affine_, grid_);
    const double step = affine_.scale;
    if (grid_.symmetric) {
      const double limit = std::max(-range_.low, range_.high);
      Expect(std::abs(covered.high - limit) <= 1e-5 * limit, "grid spans the range");
    } else {
      Expect(std::abs(covered.low - range_.low) <= 0.51 * step &&
                 std::abs(covered.high - range_.high) <= 0.51 * step,
             "grid spans the range");
    }
  }

  void CheckCodes() {
    std::vector<int32_t> all;
    for (int32_t code = grid_.first; code <= grid_.last; ++code) all.push_back(code);
    const std::vector<float> levels = subject_.dequantize(all, affine_);
    Expect(subject_.quantize(levels, affine_, grid_) == all, "codes survive a round trip");
    bool ascending = true;
    for (size_t i = 1; i < levels.size(); ++i) ascending &= levels[i] > levels[i - 1];
    Expect(ascending, "levels ascend");
    const std::vector<float> zero = {0};
    Expect(subject_.dequantize(subject_.quantize(zero, affine_, grid_), affine_) == zero,
           "zero is exact");
  }

  void CheckValues() {
    const std::vector<float> sorted = Sorted(values_);
    const std::vector<int32_t> codes = subject_.quantize(sorted, affine_, grid_);
    const auto [least, most] = std::minmax_element(codes.begin(), codes.end());
    Expect(*least >= grid_.first && *most <= grid_.last, "codes are of the grid");
    Expect(std::is_sorted(codes.begin(), codes.end()), "codes ascend with the values");
    const std::vector<float> back = subject_.dequantize(codes, affine_);
    const Range covered = RangeOf(affine_, grid_);
    for (size_t i = 0; i < sorted.size(); ++i) {
      const double error = std::abs(static_cast<double>(sorted[i]) - back[i]);
      if (sorted[i] >= covered.low && sorted[i] <= covered.high) {
        Expect(error <= 0.5001 * affine_.scale, "error is at most half a step inside");
      } else {
        const int32_t end = sorted[i] < 0 ? grid_.first : grid_.last;
        Expect(codes[i] == end, "outside saturates");
      }
    }
    if (sorted.front() == sorted.back() && !ScaleIsLimited()) {
      Expect(std::abs(back[0] - sorted[0]) <= 1e-6 * std::abs(sorted[0]), "constants are exact");
    }
  }

  void CheckSymmetries() {
    const double error = ErrorOf(affine_, values_);
    const absl::StatusOr<AffineSubject::Choice> shuffled = Choose(Shuffled(values_));
    Expect(shuffled.ok() && std::abs(ErrorOf(shuffled->affine, values_) - error) <= 1e-3 * error,
           "order does not matter");
    const double magnitude = Magnitude(values_);
    if (ScaleIsLimited() || magnitude < 1e-30) return;
    for (const float factor : {8.0f, 0.125f}) {
      const absl::StatusOr<AffineSubject::Choice> scaled = Choose(Times(values_, factor));
      Expect(scaled.ok() && scaled->range.low == range_.low * factor &&
                 scaled->range.high == range_.high * factor,
             "unit does not matter");
    }
    if (!grid_.symmetric || target_ != Target::kWeights) return;
    const absl::StatusOr<AffineSubject::Choice> mirrored = Choose(Times(values_, -1));
    Expect(mirrored.ok() && mirrored->affine == affine_, "sign does not matter");
  }

  double ErrorOf(Affine affine, const std::vector<float>& values) const {
    const std::vector<float> back =
        subject_.dequantize(subject_.quantize(values, affine, grid_), affine);
    double error = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double distance = static_cast<double>(values[i]) - back[i];
      error += distance * distance;
    }
    return error;
  }

  void CheckError() {
    WithDistribution(values_, [&](const Distribution& seen) {
      // What the chosen quantizer covers, not the range it claims.
      const double own = seen.SquaredError(RangeOf(affine_, grid_), grid_);
      const double slack = 1e-9 * SumSquares(values_);
      for (const RangeEstimator& other : RangeEstimators()) {
        const absl::StatusOr<RangeEstimate> estimate = other.estimate(seen, grid_, {});
        if (!estimate.ok()) continue;
        const double error = seen.SquaredError(estimate->range, grid_);
        if (subject_.least_error) {
          Expect(own <= error * (1 + 1e-3) + slack, "has the least error");
        } else if (other.name == "least_squares") {
          Expect(error <= own * (1 + 1e-3) + slack, "least squares has no larger error");
        }
      }
      return 0;
    });
  }

  const AffineSubject& subject_;
  const Target target_;
  const Grid grid_;
  const std::vector<float>& values_;
  Range range_;
  Affine affine_;
  Violations violations_;
};

class CodebookCheck {
 public:
  CodebookCheck(const CodebookSubject& subject, int bits, const std::vector<float>& values)
      : subject_(subject), bits_(bits), values_(values) {}

  Violations Run() {
    const absl::StatusOr<Codebook> fitted = subject_.fit(values_, {}, bits_);
    Expect(fitted.ok(), "succeeds");
    if (!fitted.ok()) return violations_;
    book_ = *fitted;
    CheckShape();
    if (!violations_.empty()) return violations_;
    CheckEncoding();
    CheckSymmetries();
    CheckError();
    return violations_;
  }

 private:
  void Expect(bool holds, const char* promise) {
    if (!holds) violations_.insert(promise);
  }

  void CheckShape() {
    const auto& levels = book_.levels;
    const size_t most = size_t{1} << bits_;
    const std::set<float> distinct(values_.begin(), values_.end());
    Expect(!levels.empty() && levels.size() <= most, "has 1 to 2^bits levels");
    if (levels.empty()) return;
    if (subject_.all_levels || distinct.size() <= most) {
      Expect(levels.size() == std::min(most, distinct.size()), "uses the levels it can");
    }
    Expect(std::adjacent_find(levels.begin(), levels.end(), std::greater_equal<>()) == levels.end(),
           "levels ascend");
    Expect(levels.front() >= *distinct.begin() && levels.back() <= *distinct.rbegin(),
           "levels lie among the values");
    Expect(book_.thresholds.size() + 1 == levels.size(), "has a threshold between two levels");
    for (size_t i = 0; i < std::min(book_.thresholds.size(), levels.size() - 1); ++i) {
      Expect(book_.thresholds[i] > levels[i] && book_.thresholds[i] <= levels[i + 1],
             "thresholds interleave with levels");
    }
  }

  void CheckEncoding() {
    const std::vector<float> sorted = Sorted(values_);
    const std::vector<uint8_t> codes = subject_.encode(sorted, book_);
    Expect(std::is_sorted(codes.begin(), codes.end()), "codes ascend with the values");
    const bool inside = *std::max_element(codes.begin(), codes.end()) < book_.levels.size();
    Expect(inside, "codes are of the codebook");
    if (!inside) return;
    for (size_t i = 0; i < sorted.size(); ++i) {
      double nearest = INFINITY;
      for (const float level : book_.levels) {
        nearest = std::min(nearest, std::abs(static_cast<double>(sorted[i]) - level));
      }
      const double error = std::abs(static_cast<double>(sorted[i]) - book_.levels[codes[i]]);
      Expect(error <= nearest * (1 + 1e-6) + 1e-6 * std::abs(sorted[i]), "takes the nearest level");
    }
    const std::vector<uint8_t> of_levels = subject_.encode(book_.levels, book_);
    for (size_t i = 0; i < of_levels.size(); ++i) {
      Expect(of_levels[i] == i, "codes survive a round trip");
    }
    const std::set<float> distinct(values_.begin(), values_.end());
    if (distinct.size() <= size_t{1} << bits_) {
      Expect(std::equal(distinct.begin(), distinct.end(), book_.levels.begin(), book_.levels.end()),
             "few values are exact");
    }
  }

  void CheckSymmetries() {
    const absl::StatusOr<Codebook> shuffled = subject_.fit(Shuffled(values_), {}, bits_);
    Expect(shuffled.ok() && *shuffled == book_, "order does not matter");
    const absl::StatusOr<Codebook> again = subject_.fit(values_, {}, bits_);
    Expect(again.ok() && *again == book_, "is deterministic");
    const std::vector<float> heavier(values_.size(), 4.0f);
    const absl::StatusOr<Codebook> weighted = subject_.fit(values_, heavier, bits_);
    Expect(weighted.ok() && weighted->levels == book_.levels, "equal weights do not matter");
    if (Magnitude(values_) < 1e-30) return;
    const absl::StatusOr<Codebook> scaled = subject_.fit(Times(values_, 8), {}, bits_);
    Expect(scaled.ok() && scaled->levels == Times(book_.levels, 8), "unit does not matter");
  }

  void CheckError() {
    const std::vector<Cell> cells = DistinctCells(values_, {});
    const double own = SquaredError(cells, book_);
    for (const RangeEstimator& other : RangeEstimators()) {
      if (other.fit_codebook == nullptr) continue;
      const absl::StatusOr<Codebook> codebook = FitCodebook(other.name, values_, {}, bits_, {});
      if (!codebook.ok()) continue;
      const double error = SquaredError(cells, *codebook);
      if (subject_.least_error) {
        Expect(own <= error * (1 + 1e-6), "has the least error");
      } else if (other.name == "least_squares") {
        Expect(error <= own * (1 + 1e-6), "least squares has no larger error");
      }
    }
  }

  const CodebookSubject& subject_;
  const int bits_;
  const std::vector<float>& values_;
  Codebook book_;
  Violations violations_;
};

}  // namespace

AffineSubject SubjectOf(const RangeEstimator& estimator) {
  AffineSubject subject;
  subject.choose = [estimator](const Distribution& values,
                               const Grid& grid) -> absl::StatusOr<AffineSubject::Choice> {
    const absl::StatusOr<RangeEstimate> estimate = estimator.estimate(values, grid, {});
    if (!estimate.ok()) return estimate.status();
    return AffineSubject::Choice{estimate->range, AffineFor(estimate->range, grid)};
  };
  subject.quantize = [](std::span<const float> values, Affine affine, const Grid& grid) {
    if (grid.type == DataType::kInt8) {
      std::vector<int8_t> codes(values.size());
      Quantize(values, affine, grid, codes);
      return std::vector<int32_t>(codes.begin(), codes.end());
    }
    std::vector<uint8_t> codes(values.size());
    Quantize(values, affine, grid, codes);
    return std::vector<int32_t>(codes.begin(), codes.end());
  };
  subject.dequantize = [](const std::vector<int32_t>& codes, Affine affine) {
    std::vector<float> values(codes.size());
    if (std::any_of(codes.begin(), codes.end(), [](int32_t code) { return code < 0; })) {
      const std::vector<int8_t> narrow(codes.begin(), codes.end());
      Dequantize(narrow, affine, values);
    } else {
      const std::vector<uint8_t> narrow(codes.begin(), codes.end());
      Dequantize(narrow, affine, values);
    }
    return values;
  };
  subject.least_error = estimator.name == "least_squares";
  return subject;
}

Violations CheckAffine(const AffineSubject& subject, Target target, const Grid& grid,
                       const std::vector<float>& values) {
  return AffineCheck(subject, target, grid, values).Run();
}

CodebookSubject CodebookSubjectOf(const RangeEstimator& estimator) {
  CodebookSubject subject;
  subject.fit = [name = estimator.name](std::span<const float> values,
                                        std::span<const float> weights, int bits) {
    return FitCodebook(name, values, weights, bits, {});
  };
  subject.encode = [](std::span<const float> values, const Codebook& codebook) {
    std::vector<uint8_t> codes(values.size());
    Encode(values, codebook, codes);
    return codes;
  };
  subject.least_error = estimator.name == "least_squares";
  subject.all_levels = estimator.name == "decision_tree";
  return subject;
}

Violations CheckCodebook(const CodebookSubject& subject, int bits,
                         const std::vector<float>& values) {
  return CodebookCheck(subject, bits, values).Run();
}

}  // namespace octet::quant::testing
