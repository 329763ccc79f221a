// Samples of one source, made when they are asked for.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace octet::runtime {

struct SampleSet {
  size_t size = 0;
  // Sample `index`, below the size: one tensor per model input.
  std::function<absl::StatusOr<std::vector<Tensor>>(size_t index)> sample;
  std::optional<std::vector<int64_t>> labels;  // one for each sample
};

}  // namespace octet::runtime
