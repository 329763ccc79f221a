// What quantization holds in memory, beside what running the network takes.

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "runtime/calibration_data.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

// How many bytes the statistics of layers' inputs, of which error feedback makes groups
// (layer_inputs.h), may take at a time: twice the float weights, from 64 MiB to kMostHessianBytes.
// With options.memory_bytes it is kMostHessianBytes, or less where that is all they leave beside
// the float weights, the integers that are made of them, and the samples. Of weights and samples in
// a TensorFile only the largest weight counts. ResourceExhausted if they do not leave room for
// these.
absl::StatusOr<int64_t> BytesForHessians(const QuantizeOptions& options, const graph::Graph& graph,
                                         const CalibrationData& data,
                                         const CalibrationData& validation);

}  // namespace octet::runtime
