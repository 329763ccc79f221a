// Which samples calibrate, and which measure: never the same.

#pragma once

#include <string>
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

// Who calibrates, and who measures.
struct ChosenSamples {
  std::vector<std::vector<Tensor>> calibrating;
  CalibrationData measuring;
  std::string source;   // of what measures, for people
  std::string warning;  // empty: none
};

// Measures on `validation`, or if there is none on this share of `data`, held out; a share of 1 is
// all of it, and nothing calibrates.
ChosenSamples ChooseSamples(const CalibrationData& data, const CalibrationData& validation,
                            double share);

}  // namespace octet::runtime
