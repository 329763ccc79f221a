#include "runtime/memory_budget.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "runtime/layer_inputs.h"

namespace octet::runtime {
namespace {

// In memory all the time: what lies in a file is there for as long as it is worked on.
size_t ResidentBytes(const CalibrationData& data) {
  size_t bytes = 0;
  for (const std::vector<Tensor>& sample : data.samples) {
    for (const Tensor& tensor : sample) bytes += tensor.in_file() ? 0 : tensor.byte_size();
  }
  return bytes;
}

struct ConstantBytes {
  size_t all = 0;
  size_t in_memory = 0;
  size_t largest_in_file = 0;
};

ConstantBytes ConstantsOf(const graph::Graph& graph) {
  ConstantBytes bytes;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto& constant = graph.value(static_cast<graph::ValueId>(i)).constant;
    if (!constant) continue;
    const size_t size = constant->byte_size();
    bytes.all += size;
    if (constant->in_file()) {
      bytes.largest_in_file = std::max(bytes.largest_in_file, size);
    } else {
      bytes.in_memory += size;
    }
  }
  return bytes;
}

// Groups of less would be many, and each runs the network on samples.
constexpr int64_t kLeastHessianBytes = int64_t{64} << 20;

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

absl::StatusOr<int64_t> BytesForHessians(const QuantizeOptions& options, const graph::Graph& graph,
                                         const CalibrationData& data,
                                         const CalibrationData& validation) {
  const ConstantBytes constants = ConstantsOf(graph);
  if (options.memory_bytes == 0) {
    const auto floats = static_cast<int64_t>(constants.all);
    return std::clamp(2 * floats, kLeastHessianBytes, kMostHessianBytes);
  }
  // Of float32 and 8 bits of each; of one that comes from the file, half as much again to work on.
  const auto weights = static_cast<int64_t>(constants.in_memory + constants.all / 4 +
                                            constants.largest_in_file * 3 / 2);
  const auto samples = static_cast<int64_t>(ResidentBytes(data) + ResidentBytes(validation));
  const int64_t left = options.memory_bytes - weights - samples;
  if (left >= 0) return std::min(left, kMostHessianBytes);
  return absl::ResourceExhaustedError(absl::StrFormat(
      "quantization.budget.memory_mb is %.0f, expected at least %.0f: %.1f MB for weights and %.1f "
      "MB for samples, of which calibration.samples may take fewer",
      Megabytes(options.memory_bytes), std::ceil(Megabytes(weights + samples)), Megabytes(weights),
      Megabytes(samples)));
}

}  // namespace octet::runtime
