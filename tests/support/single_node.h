// One operator by itself: lowered as in a model, and run.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "kernels/program.h"

namespace octet::testing {

struct Operand {
  Tensor tensor;  // codes, with `quant`
  bool constant = false;
  std::optional<graph::QuantParams> quant;
};

struct SingleNode {
  std::string op;
  std::vector<std::optional<Operand>> inputs;  // none: left out
  absl::flat_hash_map<std::string, graph::Attribute> attributes;
  std::vector<graph::FusedOp> fused;
  graph::TensorType output;  // the element type and the quantizer of the result
  // Permutes input `transposed_input` first, as a Transpose node does.
  std::optional<int> transposed_input;
  std::vector<int64_t> permutation;
};

absl::StatusOr<kernels::Program> LowerSingle(const SingleNode& node);

// The result for the operands' tensors.
absl::StatusOr<Tensor> RunSingle(const SingleNode& node);

// One scale and zero point for the whole tensor.
graph::QuantParams PerTensor(float scale, int32_t zero_point);
// Scales along `axis`, zero points of 0.
graph::QuantParams PerChannel(std::vector<float> scales, int axis);

}  // namespace octet::testing
