#include "runtime/memory_budget.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "runtime/layer_inputs.h"

namespace octet::runtime {
namespace {

int64_t BytesOf(const CalibrationData& data) {
  size_t bytes = 0;
  for (const std::vector<Tensor>& sample : data.samples) {
    for (const Tensor& tensor : sample) bytes += tensor.byte_size();
  }
  return static_cast<int64_t>(bytes);
}

int64_t ConstantBytes(const graph::Graph& graph) {
  size_t bytes = 0;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto& constant = graph.value(static_cast<graph::ValueId>(i)).constant;
    if (constant) bytes += constant->byte_size();
  }
  return static_cast<int64_t>(bytes);
}

// Groups of less would be many, and each runs the network on samples.
constexpr int64_t kLeastHessianBytes = int64_t{64} << 20;

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

absl::StatusOr<int64_t> BytesForHessians(const QuantizeOptions& options, const graph::Graph& graph,
                                         const CalibrationData& data,
                                         const CalibrationData& validation) {
  const int64_t floats = ConstantBytes(graph);
  if (options.memory_bytes == 0) {
    return std::clamp(2 * floats, kLeastHessianBytes, kMostHessianBytes);
  }
  const int64_t weights = floats + floats / 4;  // of float32, and 8 bits of each
  const int64_t samples = BytesOf(data) + BytesOf(validation);
  const int64_t left = options.memory_bytes - weights - samples;
  if (left >= 0) return std::min(left, kMostHessianBytes);
  return absl::ResourceExhaustedError(absl::StrFormat(
      "quantization.budget.memory_mb is %.0f, expected at least %.0f: %.1f MB for weights and %.1f "
      "MB for samples, of which calibration.samples may take fewer",
      Megabytes(options.memory_bytes), std::ceil(Megabytes(weights + samples)), Megabytes(weights),
      Megabytes(samples)));
}

}  // namespace octet::runtime
