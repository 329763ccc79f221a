#include "quant/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "quant/vector_loops.h"

namespace octet::quant {
namespace {

constexpr size_t kBlock = 4096;  // values that are scanned and counted while they are in the cache

// Between these, values times 2^-exponent neither overflow nor lose digits.
constexpr int kLowestExponent = -120;
constexpr int kFinestBits = 40;  // bins are never narrower than 2^-40 of the largest value

int64_t BinOf(float value, int exponent) {
  return static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(value), -exponent)));
}

// The narrowest bins of which kBins reach from min to max.
int FittingExponent(float min, float max) {
  const float largest = std::max(std::abs(min), std::abs(max));
  if (largest == 0) return kLowestExponent;
  int exponent = std::max(std::ilogb(largest) - kFinestBits, kLowestExponent);
  while (BinOf(max, exponent) - BinOf(min, exponent) + 1 > Histogram::kBins) ++exponent;
  return exponent;
}

// The finalizer of a well-known 64-bit mixer (SplitMix64).
uint64_t Mix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

}  // namespace

void Histogram::AddSample(std::span<const float> values) {
  ScanResult total;
  for (size_t start = 0; start < values.size(); start += kBlock) {
    const auto block = values.subspan(start, std::min(kBlock, values.size() - start));
    const ScanResult scan = Scan(block);
    total.sum += scan.sum;
    total.sum_squares += scan.sum_squares;
    zeros_ += scan.zeros;
    nans_ += scan.nans;
    infinities_ += scan.infinities;
    const uint64_t finite = block.size() - scan.nans - scan.infinities;
    if (finite == 0) continue;
    AddBlock(block, scan.min + 0.0f, scan.max + 0.0f);  // + 0: no negative zeroes
    count_ += finite;
    total.min = std::min(total.min, scan.min);
    total.max = std::max(total.max, scan.max);
  }
  ++samples_;
  if (total.min > total.max) return;  // not one finite value
  sum_.Add(total.sum);
  sum_squares_.Add(total.sum_squares);
  KeepSample({total.min + 0.0f, total.max + 0.0f});
}

void Histogram::AddBlock(std::span<const float> values, float min, float max) {
  Cover(min, max);
  static_assert(kSkippedBin == kBins);
  int32_t indices[kBlock];
  BinIndices(values, std::ldexp(1.0f, -exponent_), static_cast<float>(first_bin_), indices);
  for (size_t i = 0; i < values.size(); ++i) ++bins_[static_cast<size_t>(indices[i])];
  // Zeroes and what is not finite have landed behind the bins; Scan() has counted them.
  std::fill(bins_.begin() + kBins, bins_.end(), 0);
}

void Histogram::Cover(float min, float max) {
  if (!bins_.empty() && min >= min_ && max <= max_) return;
  const bool first = bins_.empty();
  min_ = first ? min : std::min(min, min_);
  max_ = first ? max : std::max(max, max_);
  const int exponent = FittingExponent(min_, max_);
  const int64_t first_bin = BinOf(min_, exponent);
  if (!first && exponent == exponent_ && first_bin == first_bin_) return;
  const std::vector<uint64_t> old_bins =
      std::exchange(bins_, std::vector<uint64_t>(kBins + kSkippedBins));
  const int old_exponent = std::exchange(exponent_, exponent);
  const int64_t old_first_bin = std::exchange(first_bin_, first_bin);
  AddBins(old_bins, old_exponent, old_first_bin);
}

void Histogram::AddBins(std::span<const uint64_t> bins, int exponent, int64_t first_bin) {
  const int doublings = std::min(exponent_ - exponent, 63);  // 63 are enough to join all bins
  for (size_t i = 0; i < bins.size(); ++i) {
    if (bins[i] == 0) continue;
    const int64_t bin = first_bin + static_cast<int64_t>(i);
    // An arithmetic shift is a division that rounds down.
    bins_[static_cast<size_t>((bin >> doublings) - first_bin_)] += bins[i];
  }
}

void Histogram::KeepSample(Range range) {
  const uint64_t bits =
      uint64_t{std::bit_cast<uint32_t>(range.low)} << 32 | std::bit_cast<uint32_t>(range.high);
  const Sample sample = {Mix(bits), range.low, range.high};
  kept_samples_.insert(std::upper_bound(kept_samples_.begin(), kept_samples_.end(), sample),
                       sample);
  if (kept_samples_.size() > kKeptSamples) kept_samples_.pop_back();
}

void Histogram::Merge(const Histogram& other) {
  if (!other.bins_.empty()) {
    Cover(other.min_, other.max_);
    AddBins(other.bins(), other.exponent_, other.first_bin_);
  }
  sum_.Add(other.sum_);
  sum_squares_.Add(other.sum_squares_);
  count_ += other.count_;
  zeros_ += other.zeros_;
  nans_ += other.nans_;
  infinities_ += other.infinities_;
  samples_ += other.samples_;
  std::vector<Sample> kept(kept_samples_.size() + other.kept_samples_.size());
  std::merge(kept_samples_.begin(), kept_samples_.end(), other.kept_samples_.begin(),
             other.kept_samples_.end(), kept.begin());
  kept.resize(std::min(kept.size(), kKeptSamples));
  kept_samples_ = std::move(kept);
}

double Histogram::NonFiniteShare() const {
  const uint64_t bad = nans_ + infinities_;
  return bad == 0 ? 0 : static_cast<double>(bad) / static_cast<double>(bad + count_);
}

double Histogram::Mean() const {
  return count_ == 0 ? 0 : sum_.Value() / static_cast<double>(count_);
}

double Histogram::bin_width() const { return std::ldexp(1.0, exponent_); }

std::vector<Range> Histogram::SampleRanges() const {
  std::vector<Range> ranges;
  ranges.reserve(kept_samples_.size());
  for (const Sample& sample : kept_samples_) ranges.push_back({sample.low, sample.high});
  return ranges;
}

}  // namespace octet::quant
