// What `octet tune` explores, in which order, and what it chooses; measuring is the caller's.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/accuracy_guard.h"
#include "server/commands/tune.h"
#include "server/config/config.h"

namespace octet::server {

// A setting and the values that are worth trying. Values that the configuration refuses are passed
// over, so an axis may be listed before every version has it.
struct TuningAxis {
  std::string path;  // "quantization.weights.algorithm"
  std::vector<std::string> values;
};

// In the order in which they are tried: those that change most first. The first is the mode.
const std::vector<TuningAxis>& TuningAxes();

// How a configuration did.
struct TuningMeasurement {
  runtime::AccuracyValues accuracy;  // against float32, on samples that have not calibrated
  size_t weight_bytes = 0;           // as served
  double milliseconds = 0;           // median of a run
};

struct TuningPoint {
  QuantizationConfig config;
  std::string changes;  // from where the exploration began: "weights.algorithm: min_max"
  TuningMeasurement measured;
};

// Sets one setting of a configuration. InvalidArgument if it is refused.
absl::StatusOr<QuantizationConfig> WithSetting(const QuantizationConfig& config,
                                               const std::string& path, const std::string& value);

struct TuningTask {
  QuantizationConfig start;
  runtime::AccuracyTarget target;
  TuneObjective objective = TuneObjective::kLatency;
  // What cannot be quantized so is passed over.
  std::function<absl::StatusOr<TuningMeasurement>(const QuantizationConfig&,
                                                  const std::string& changes)>
      measure;
  std::function<bool()> out_of_time;  // asked before each measurement but the first
};

// Float32, the start, then one axis after the other, each from the best point so far that
// quantizes, until nothing new is left or time is over. Every configuration is measured once.
// Errors are those of measuring the start.
absl::StatusOr<std::vector<TuningPoint>> Explore(const TuningTask& task);

// Indices of the points that no other point beats or equals in accuracy, bytes and time; by time.
std::vector<size_t> ParetoFront(const std::vector<TuningPoint>& points,
                                const runtime::AccuracyTarget& target);

// The best by the objective of the points that hold the target; the most accurate if none does.
// Times that differ by less than 3 percent count as the same: the more accurate one wins.
size_t Choose(const std::vector<TuningPoint>& points, const runtime::AccuracyTarget& target,
              TuneObjective objective);

}  // namespace octet::server
