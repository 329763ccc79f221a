// Shape and type inference, and the evaluation of what is known before any request.
//
// Inference always works on concrete shapes: shape arithmetic is simply computed. Symbolic shapes
// are found by probing: the graph is inferred for two sets of dimensions, and a dimension that
// comes out different is symbolic.

#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::graph {

// Indexed by ValueId.
struct Inference {
  std::vector<TensorType> types;
  // Values that depend on no input's elements, as far as they are small or cheap to know.
  std::vector<std::optional<Tensor>> constants;
};

// The outputs of a node whose inputs are all constants; none if some are not, or the result would
// be too large to keep.
absl::StatusOr<std::optional<std::vector<Tensor>>> EvaluateConstant(const Graph& graph,
                                                                    const Node& node);

// What every value is when the inputs have these shapes. Quantized values keep their quantizer.
// Errors name the node: InvalidArgument, Unimplemented or ResourceExhausted.
absl::StatusOr<Inference> Infer(const Graph& graph, std::span<const Shape> input_shapes);

// The graph for concrete input shapes: all types known, everything that depends on no input's
// elements folded into constants, shape arithmetic gone.
absl::StatusOr<Graph> Specialize(const Graph& graph, std::span<const Shape> input_shapes);

struct SymbolicTypes {
  // Every input and output has the same symbolic first dimension.
  bool batchable = false;
  // Shapes that the graph accepts, for measuring and checking before any request; of the first
  // dimension one if it is symbolic.
  std::vector<Shape> example_shapes;
};

// Sets every value's type, with kUnknownDim where a dimension depends on the request. A symbolic
// dimension for which the graph works with one size only becomes that size.
// The error for the most ordinary sizes is returned if none work.
absl::StatusOr<SymbolicTypes> InferSymbolicTypes(Graph& graph);

// Concrete shapes for the inputs, `first_dim` for symbolic first dimensions and `example`'s sizes
// for the others. For graphs that InferSymbolicTypes() called batchable.
std::vector<Shape> WithFirstDim(std::span<const Shape> example, int64_t first_dim);

}  // namespace octet::graph
