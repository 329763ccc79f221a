// All algorithms beside each other, over all layers of a model: for `octet quantize
// --compare-algorithms` and the report.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/quantize_model.h"

namespace octet::runtime {

// SQNR in dB over layers.
struct OverLayers {
  double mean = 0;
  double worst = 0;
};

struct AlgorithmRow {
  std::string name;
  // Weights; absent for what is no algorithm for weights.
  std::optional<OverLayers> per_tensor, per_channel;
  // What layers read; absent without calibration data.
  std::optional<OverLayers> activations;
  // Of the network with ranges by this algorithm; absent if it was not measured.
  std::optional<double> output_sqnr_db;
};

// From QuantizeReport::details and ::attempts; empty without details. In alphabetical order.
std::vector<AlgorithmRow> CompareAlgorithms(const QuantizeReport& report);

// Aligned columns with a line of explanation.
std::string AlgorithmTable(const QuantizeReport& report);

}  // namespace octet::runtime
