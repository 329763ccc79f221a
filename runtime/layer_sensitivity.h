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
};

// The layers that may move, the noisiest first. `measure` may answer nothing when time is out; what
// was not measured comes last.
absl::StatusOr<std::vector<LayerNoise>> MeasureSensitivity(
    const std::vector<SearchLayer>& layers,
    const std::function<absl::StatusOr<std::optional<AccuracyValues>>(
        const std::vector<quant::Precision>& precisions)>& measure);

}  // namespace octet::runtime
