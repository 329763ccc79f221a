// QuantizeLinear and DequantizeLinear nodes as quantizers. Internal to graph/passes.

#pragma once

#include <optional>

#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::graph {

// Eight-bit codes and what they stand for.
struct CodeType {
  DataType dtype = DataType::kUint8;
  QuantParams params;

  bool operator==(const CodeType&) const = default;
};

// The quantizer of a QuantizeLinear or DequantizeLinear node; none if its parameters are not
// constant, it has a scale per block, or its codes are not of eight bits.
std::optional<CodeType> QuantizerOf(const Graph& graph, const Node& node);

// Codes with a scale per tensor or per index of an axis as float32.
absl::StatusOr<Tensor> Dequantized(const Tensor& codes, const QuantParams& params);

// uint8 codes with their zero point as int8 ones that stand for the same numbers; int8 ones as they
// are.
struct Codes {
  Tensor tensor;
  QuantParams params;
};
absl::StatusOr<Codes> AsInt8(const Tensor& codes, const QuantParams& params);

}  // namespace octet::graph
