// How much noise each layer makes when it alone is quantized. A part of the search for precisions.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/precision_search.h"

namespace octet::runtime {

struct LayerNoise {
  size_t layer = 0;
  // Power of the outputs' noise by that of the signal; a group's, in equal shares.
  double noise = 0;
  std::optional<double> sqnr_db;  // the same in dB, of this layer or its group; nothing: no time
  size_t group_size = 1;          // layers that were measured together
  bool of_layer = false;          // sqnr_db is of the layer's own result, not of the outputs
};

// The layers that may move, the noisiest first. `measure` may answer nothing when time is out; what
// was not measured comes last.
absl::StatusOr<std::vector<LayerNoise>> MeasureSensitivity(
    const std::vector<SearchLayer>& layers,
    const std::function<absl::StatusOr<std::optional<AccuracyValues>>(
        const std::vector<quant::Precision>& precisions)>& measure);

// The same by the noise of each layer's own result, taken to be in the outputs in the same
// proportions; all together make `total` noise there.
std::vector<LayerNoise> RankByLayerNoise(const std::vector<SearchLayer>& layers,
                                         const std::vector<double>& noise, double total);

}  // namespace octet::runtime
