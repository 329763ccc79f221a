// Which samples calibrate, and which measure: never the same.

#pragma once

#include <vector>

#include "runtime/calibration_data.h"

namespace octet::runtime {

struct SampleSplit {
  std::vector<std::vector<Tensor>> calibrating;
  // Empty if fewer than two samples differ.
  CalibrationData held_out;
};

// Holds out this share of the samples, evenly spread, at least one of two. Repetitions of a sample
// that calibrates are in neither part. Labels go with their samples.
SampleSplit HoldOut(const CalibrationData& data, double share);

// `measuring` without the samples whose bytes are those of one in `calibrating`.
CalibrationData WithoutSeen(const std::vector<std::vector<Tensor>>& calibrating,
                            const CalibrationData& measuring);

}  // namespace octet::runtime
