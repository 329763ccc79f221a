// What a report can show of one layer beyond its decision: where its values lie, on which grid, and
// what other algorithms would have made of them.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/data_type.h"
#include "quant/affine.h"

namespace octet::runtime {

// Counts of equally wide bins.
struct FoldedHistogram {
  static constexpr size_t kMostBins = 128;

  double low = 0;  // where the first bin begins
  double bin_width = 0;
  std::vector<uint64_t> counts;  // at most kMostBins
  uint64_t zeros = 0;            // exact zeroes that are in no bin
};

// What an algorithm makes of a layer's weights in 8 bits; absent where it cannot be asked.
struct WeightAlgorithm {
  std::string name;
  std::optional<double> per_tensor_sqnr_db;
  std::optional<double> per_channel_sqnr_db;
};

struct WeightDetails {
  FoldedHistogram histogram;
  // Of the weights in 8 bits; channels differ in scale. No scales where there are 4 bits.
  std::string dtype;
  int32_t last_code = 0;  // codes are from minus this to this
  bool per_channel = false;
  std::string algorithm;
  double smallest_scale = 0, largest_scale = 0;
  size_t scales = 0;
  double worst_channel_sqnr_db = 0;
  size_t dead_channels = 0;
  std::vector<WeightAlgorithm> algorithms;
};

// What an algorithm makes of a layer's input.
struct ActivationAlgorithm {
  std::string name;
  quant::Range range;
  double sqnr_db = 0;
  double clipped_share = 0;
  bool fell_back = false;  // too few values: the range is min_max's
};

// What a layer reads, as calibration has seen it.
struct ActivationDetails {
  FoldedHistogram histogram;
  float observed_min = 0, observed_max = 0;
  uint64_t values = 0;
  // The grid that the layer reads in; none for layers that read floats, or take their own ranges
  // while serving.
  struct Served {
    DataType dtype = DataType::kUint8;
    quant::Affine affine;
    quant::Range range;
    double sqnr_db = 0;
    double clipped_share = 0;  // of the values, those beyond the range
  };
  std::optional<Served> served;
  std::vector<ActivationAlgorithm> algorithms;
};

struct LayerDetails {
  WeightDetails weights;
  std::optional<ActivationDetails> activations;  // none without calibration data
};

}  // namespace octet::runtime
