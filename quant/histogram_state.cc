// Histograms that are kept, and read by somebody who does not trust what was kept.

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/histogram.h"

namespace octet::quant {
namespace {

// More was never counted; sums of a few thousand such numbers fit 64 bits.
constexpr uint64_t kMostCounted = uint64_t{1} << 50;

absl::Status Impossible(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("no histogram has ", what));
}

absl::Status CheckRange(float min, float max) {
  const bool ordered = std::isfinite(min) && std::isfinite(max) && min <= max;
  return ordered ? absl::OkStatus() : Impossible(absl::StrCat("the range ", min, " to ", max));
}

absl::Status CheckCounts(const HistogramState& state) {
  if (std::max({state.zeros, state.nans, state.infinities, state.samples}) > kMostCounted ||
      std::any_of(state.counts.begin(), state.counts.end(),
                  [](uint64_t count) { return count == 0 || count > kMostCounted; })) {
    return Impossible("such counts");
  }
  if (state.bins.size() != state.counts.size() || state.bins.size() > Histogram::kBins ||
      std::adjacent_find(state.bins.begin(), state.bins.end(), std::greater_equal<>()) !=
          state.bins.end()) {
    return Impossible("such bins");
  }
  if (!state.bins.empty() && state.bins.back() >= Histogram::kBins) {
    return Impossible(absl::StrCat("a bin ", state.bins.back()));
  }
  return absl::OkStatus();
}

absl::Status CheckSamples(const HistogramState& state) {
  if (state.lows.size() != state.highs.size() || state.lows.size() > state.samples ||
      state.lows.size() > Histogram::kKeptSamples) {
    return Impossible("such samples");
  }
  for (size_t i = 0; i < state.lows.size(); ++i) {
    OCTET_RETURN_IF_ERROR(CheckRange(state.lows[i], state.highs[i]));
    if (state.lows[i] < state.min || state.highs[i] > state.max) {
      return Impossible("a sample beyond its range");
    }
  }
  return absl::OkStatus();
}

}  // namespace

HistogramState Histogram::State() const {
  HistogramState state{.min = min_,
                       .max = max_,
                       .zeros = zeros_,
                       .nans = nans_,
                       .infinities = infinities_,
                       .samples = samples_,
                       .sum = {sum_.limbs().begin(), sum_.limbs().end()},
                       .sum_squares = {sum_squares_.limbs().begin(), sum_squares_.limbs().end()}};
  for (size_t i = 0; i < bins().size(); ++i) {
    if (bins_[i] == 0) continue;
    state.bins.push_back(static_cast<uint32_t>(i));
    state.counts.push_back(bins_[i]);
  }
  for (const Sample& sample : kept_samples_) {
    state.lows.push_back(sample.low);
    state.highs.push_back(sample.high);
  }
  return state;
}

absl::StatusOr<Histogram> Histogram::FromState(const HistogramState& state) {
  OCTET_RETURN_IF_ERROR(CheckRange(state.min, state.max));
  OCTET_RETURN_IF_ERROR(CheckCounts(state));
  OCTET_RETURN_IF_ERROR(CheckSamples(state));
  const std::optional<ExactSum> sum = ExactSum::OfLimbs(state.sum);
  const std::optional<ExactSum> sum_squares = ExactSum::OfLimbs(state.sum_squares);
  if (!sum || !sum_squares) return Impossible("such sums");
  Histogram histogram;
  histogram.sum_ = *sum;
  histogram.sum_squares_ = *sum_squares;
  histogram.zeros_ = histogram.count_ = state.zeros;
  histogram.nans_ = state.nans;
  histogram.infinities_ = state.infinities;
  histogram.samples_ = state.samples;
  if (state.bins.empty() && state.zeros == 0) {
    if (state.min != 0 || state.max != 0 || !state.lows.empty()) return Impossible("no values");
    return histogram;
  }
  histogram.Cover(state.min + 0.0f, state.max + 0.0f);  // + 0: no negative zeroes
  for (size_t i = 0; i < state.bins.size(); ++i) {
    histogram.bins_[state.bins[i]] = state.counts[i];
    histogram.count_ += state.counts[i];
  }
  for (size_t i = 0; i < state.lows.size(); ++i) {
    histogram.KeepSample({state.lows[i] + 0.0f, state.highs[i] + 0.0f});
  }
  return histogram;
}

}  // namespace octet::quant
