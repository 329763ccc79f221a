// A node of the graph: one operator applied to values.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "graph/attribute.h"

namespace octet::graph {

struct OpSchema;

enum class NodeId : int32_t {};
enum class ValueId : int32_t {};

// In Node::inputs: an optional input that was left out. In Node::outputs: one that nobody reads.
inline constexpr ValueId kNoValue{-1};

// A cheap operator that runs in its producer's kernel, on each element of the producer's output
// while it is still in registers. A chain of them runs in order.
struct FusedOp {
  std::string op;   // "Relu", "Clip", "HardSwish", "Gelu", "Linear", ... or "Add", "Mul"
  float alpha = 0;  // Clip: lower bound; LeakyRelu, Elu, HardSigmoid, Swish: alpha
  float beta = 0;   // Clip: upper bound; HardSigmoid: beta; Linear: alpha * x + beta
  int input = -1;   // Add, Mul: which of the node's inputs is the other operand

  bool operator==(const FusedOp&) const = default;
};

struct Node {
  // The ONNX operator type; those of other domains than ONNX's own carry the domain in front:
  // "com.microsoft.Gelu", "octet.RowQuantize".
  std::string op;
  std::string name;  // unique in the graph
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  absl::flat_hash_map<std::string, Attribute> attributes;
  std::vector<FusedOp> fused;
  // The meaning of `op` at the model's opset; outlives the graph.
  const OpSchema* schema = nullptr;

  // Attributes by name, or the fallback where there is none of that name and kind.
  bool Has(absl::string_view key) const { return attributes.contains(key); }
  int64_t Int(absl::string_view key, int64_t fallback) const;
  float Float(absl::string_view key, float fallback) const;
  std::string String(absl::string_view key, absl::string_view fallback) const;
  std::vector<int64_t> Ints(absl::string_view key) const;      // empty if absent
  std::vector<float> Floats(absl::string_view key) const;      // empty if absent
  const Tensor* TensorAttribute(absl::string_view key) const;  // null if absent

  bool HasInput(size_t index) const { return index < inputs.size() && inputs[index] != kNoValue; }
};

}  // namespace octet::graph
