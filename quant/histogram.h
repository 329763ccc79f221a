// What calibration remembers of an activation: a histogram whose bins are as wide as a power of two
// and start at multiples of their width.
//
// Widening a bin joins exactly two, so a histogram does not depend on the order in which values
// were added or histograms merged: equal data, equal state, bit for bit.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/affine.h"
#include "quant/exact_sum.h"

namespace octet::quant {

// What a histogram is kept as; equal histograms have equal states. Bins follow from min and max.
struct HistogramState {
  float min = 0, max = 0;
  uint64_t zeros = 0, nans = 0, infinities = 0, samples = 0;
  std::vector<uint32_t> bins;             // that are not empty, ascending
  std::vector<uint64_t> counts;           // of these
  std::vector<int64_t> sum, sum_squares;  // ExactSum::limbs()
  std::vector<float> lows, highs;         // ranges of the kept samples
};

// Not thread-safe: one per thread, merged at the end. 64 KiB once it has values.
class Histogram {
 public:
  static constexpr int kBins = 8192;
  // The ranges of this many samples are kept; of more samples, a choice by the ranges' hash.
  static constexpr size_t kKeptSamples = 1024;

  // The values of one sample, e.g. what one image makes of an activation. NaN and infinities are
  // counted and otherwise left out. Takes about a nanosecond per value.
  void AddSample(std::span<const float> values);

  void Merge(const Histogram& other);

  // Finite values, among them the zeroes; then what else was seen.
  uint64_t count() const { return count_; }
  uint64_t zeros() const { return zeros_; }
  uint64_t nans() const { return nans_; }
  uint64_t infinities() const { return infinities_; }
  uint64_t samples() const { return samples_; }

  // The share of NaN and infinities among all values. A layer whose input has more than
  // kHighestNonFiniteShare should stay in floating point.
  static constexpr double kHighestNonFiniteShare = 0.001;
  double NonFiniteShare() const;

  // Of the finite values; 0 when there are none.
  float min() const { return min_; }
  float max() const { return max_; }
  double Mean() const;
  double SumSquares() const { return sum_squares_.Value(); }

  // Bin i counts the finite values except zero from (first_bin() + i) * bin_width() up to the next
  // bin. Empty before the first value.
  std::span<const uint64_t> bins() const {
    return std::span(bins_).first(bins_.empty() ? 0 : kBins);
  }
  double bin_width() const;
  int64_t first_bin() const { return first_bin_; }

  // The smallest and largest finite value of each kept sample, in no particular order.
  std::vector<Range> SampleRanges() const;

  HistogramState State() const;
  // InvalidArgument if no histogram has this state. Any state may be given.
  static absl::StatusOr<Histogram> FromState(const HistogramState& state);

  bool operator==(const Histogram&) const = default;

 private:
  // A sample's range with its hash, by which samples are kept when there are too many.
  struct Sample {
    uint64_t hash = 0;
    float low = 0;
    float high = 0;
    auto operator<=>(const Sample&) const = default;
  };

  void AddBlock(std::span<const float> values, float min, float max);
  // Widens range and bins so that values from min to max have a bin.
  void Cover(float min, float max);
  // Adds counts of bins that are no wider than ours and that Cover() has made room for.
  void AddBins(std::span<const uint64_t> bins, int exponent, int64_t first_bin);
  void KeepSample(Range range);

  int exponent_ = 0;  // bins are 2^exponent_ wide
  int64_t first_bin_ = 0;
  std::vector<uint64_t> bins_;  // and behind them kSkippedBins zeroes, which counting needs
  float min_ = 0;
  float max_ = 0;
  ExactSum sum_;
  ExactSum sum_squares_;
  uint64_t count_ = 0;
  uint64_t zeros_ = 0;
  uint64_t nans_ = 0;
  uint64_t infinities_ = 0;
  uint64_t samples_ = 0;
  std::vector<Sample> kept_samples_;  // ascending
};

}  // namespace octet::quant
