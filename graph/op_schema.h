// What an operator means: its arity, the types of its results, and a reference implementation.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "graph/node.h"
#include "graph/types.h"

namespace octet::graph {

// What shape inference knows of a node. Types are concrete: every dimension is known.
class InferContext {
 public:
  InferContext(const Node& node, std::span<const TensorType* const> inputs,
               std::span<const Tensor* const> constants)
      : node_(node), inputs_(inputs), constants_(constants) {}

  const Node& node() const { return node_; }
  int input_count() const { return static_cast<int>(inputs_.size()); }
  bool has_input(int index) const { return index < input_count() && inputs_[index] != nullptr; }
  // Present inputs only.
  const TensorType& input(int index) const { return *inputs_[index]; }
  const Shape& shape(int index) const { return inputs_[index]->shape; }
  int rank(int index) const { return static_cast<int>(shape(index).size()); }

  // The value of an input that is known before any request: a weight, or what shape arithmetic
  // gave. Null otherwise.
  const Tensor* constant(int index) const {
    return index < input_count() ? constants_[index] : nullptr;
  }

  // The elements of a constant int64 or int32 input. Unimplemented, naming the input, if its value
  // depends on the request's data: Octet plans memory before it runs.
  absl::StatusOr<std::vector<int64_t>> ConstantInts(int index) const;

 private:
  const Node& node_;
  std::span<const TensorType* const> inputs_;
  std::span<const Tensor* const> constants_;
};

// The types of a node's outputs (one per entry of Node::outputs), or why the inputs do not fit:
// InvalidArgument for a malformed model, Unimplemented for a form that Octet does not run.
using InferFn = absl::StatusOr<std::vector<TensorType>> (*)(const InferContext&);

// Computes a node on dense row-major views, whose shapes and types are what InferFn gave. Plain and
// correct rather than fast; it folds constants, checks the kernels in tests, and runs operators
// that need no kernel of their own. Never sees quantized values. Node::fused is not its concern.
using ReferenceFn = absl::Status (*)(const Node&, std::span<const ConstTensorView> inputs,
                                     std::span<TensorView> outputs);

// How the quantizer treats an operator.
enum class QuantRole : uint8_t {
  kFloat,    // runs in float
  kCompute,  // multiplies activations by weights: what int8 kernels are for
  kCarry,    // output has the input's quantizer, codes move unchanged: MaxPool, Reshape, ...
  kCombine,  // can compute on codes with a quantizer for each input and output: Add, Concat, ...
};

// One meaning of one operator. Where a newer opset changed the meaning (Softmax 11 and 13), there
// are two rows with different `since_version`.
struct OpSchema {
  absl::string_view type;
  int since_version = 1;
  int min_inputs = 0;
  int max_inputs = 0;  // kVariadic: no limit
  QuantRole quant = QuantRole::kFloat;
  InferFn infer = nullptr;
  ReferenceFn reference = nullptr;  // null: never runs on values; replaced before a plan is made
  bool shape_only = false;          // `reference` reads its inputs' shapes, never their elements

  static constexpr int kVariadic = 1 << 20;
};

// All operators Octet knows. Immutable after construction, thread-safe.
class OpRegistry {
 public:
  explicit OpRegistry(std::vector<const OpSchema*> schemas);

  // The meaning of `type` in a model of this opset. Unimplemented if there is none, saying whether
  // the operator is unknown or only this version of it.
  absl::StatusOr<const OpSchema*> Find(absl::string_view type, int opset) const;

  // The newest meaning; null if the operator is unknown.
  const OpSchema* FindNewest(absl::string_view type) const;

  // By type, then version.
  const std::vector<const OpSchema*>& all() const { return all_; }

 private:
  std::vector<const OpSchema*> all_;
  absl::flat_hash_map<absl::string_view, std::vector<const OpSchema*>> by_type_;
};

}  // namespace octet::graph
