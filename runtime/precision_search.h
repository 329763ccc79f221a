// Mixed precision by measured sensitivity: the fewest layers above int8 with which a network holds
// its accuracy target.
//
// Noise of quantized layers adds up, nearly. So the layers are measured in groups of neighbours,
// quantized alone in a float network, and one by one only where a group makes noise that matters:
// some 2 * sqrt(layers) runs where few layers do the harm. Then the worst move up together, as many
// as the sum of their noise says and the measurement confirms, to the next precision of their
// ladder: ranges measured token by token first, then the top. When the target holds, they move back
// in halves, those first that gain least, as long as it goes on holding: to where they started, to
// token by token, from float32 to bfloat16.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/selection.h"
#include "runtime/accuracy_guard.h"

namespace octet::runtime {

struct SearchLayer {
  std::string name;
  int64_t macs = 0;
  // The precisions it may have, the first the one it starts with, then upwards in the order int8,
  // int8 dynamic, bfloat16, float32. One: it is fixed.
  std::vector<quant::Precision> ladder;
  int64_t weights = 0;
};

// SQNR of a network's output from which on nobody sees a difference, 25 dB, and one more, since the
// search chooses by the samples that it measures on and makes the most of these. And the share of
// the multiply-accumulates that may leave int8 for it; layers with a larger share of the weights
// stay.
inline constexpr double kComfortableSqnr = 26;
inline constexpr double kCheapFloatFraction = 0.05;

struct SearchOptions {
  AccuracyTarget target;
  // Somebody asked for it. Else more SQNR is taken where it is cheap: kComfortableSqnr is aimed at
  // within kCheapFloatFraction, and `target` only if that does not reach it.
  bool target_is_set = true;
  // Share of the multiply-accumulates that may leave int8; bfloat16 counts as float.
  double max_float_fraction = 0.35;
  double seconds = 120;            // time budget; the last measurement may exceed it
  size_t sensitivity_samples = 2;  // enough to rank layers by
  // The noise of each layer's own result, by the power of the signal; empty: that of the outputs
  // with only this layer quantized is measured.
  std::vector<double> layer_noise;
  std::function<void(absl::string_view stage, const std::string& detail)> progress;
};

// Measures the network with these precisions, one per layer, on at most so many samples.
using MeasurePrecisions = std::function<absl::StatusOr<AccuracyValues>(
    const std::vector<quant::Precision>& precisions, size_t max_samples)>;

struct SearchResult {
  std::vector<quant::Precision> precisions;
  AccuracyValues values;  // with these, on all samples
  // Output SQNR with only this layer quantized; 0: it was not measured alone.
  std::vector<double> alone_sqnr_db;
  // Why a layer is above its first precision; empty if it is not.
  std::vector<std::string> reasons;
  int attempts = 0;  // measurements
  double seconds = 0;
  bool out_of_time = false;
};

// `start` is what the first precisions of all ladders measure. If the target cannot be reached, the
// best that was measured. Errors are those of `measure`.
absl::StatusOr<SearchResult> SearchPrecisions(const std::vector<SearchLayer>& layers,
                                              const AccuracyValues& start,
                                              const SearchOptions& options,
                                              const MeasurePrecisions& measure);

}  // namespace octet::runtime
