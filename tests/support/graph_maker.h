// Small graphs for tests, in few words.

#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"
#include "graph/pass.h"
#include "tests/support/random_numbers.h"

namespace octet::testing {

class GraphMaker {
 public:
  // Everything random follows from the seed.
  explicit GraphMaker(uint64_t seed = 0);

  // A float32 input. A dimension of kUnknownDim is a symbol of its own, except that the first
  // dimensions of all inputs are one symbol.
  graph::ValueId Input(const Shape& shape, const std::string& name = "x");
  // Normally distributed numbers.
  graph::ValueId Weights(const Shape& shape, float deviation = 1, float mean = 0);
  // Uniform in [low, high).
  graph::ValueId Between(float low, float high, const Shape& shape);
  graph::ValueId Scalar(float value);
  graph::ValueId Ints(const std::vector<int64_t>& values);
  graph::ValueId Constant(Tensor tensor);

  // The newest meaning of `op`, or that of `opset`. Types are known at once.
  graph::ValueId Op(absl::string_view op, std::vector<graph::ValueId> inputs,
                    absl::flat_hash_map<std::string, graph::Attribute> attributes = {},
                    int opset = 0);
  void Output(graph::ValueId value);

  // With all types inferred; fails the test if they cannot be.
  graph::Graph Take();

  RandomNumbers& random() { return random_; }
  const graph::Graph& graph() const { return graph_; }

 private:
  RandomNumbers random_;
  graph::Graph graph_;
  int names_ = 0;
};

// Operators in topological order with what is fused into them: "Conv+Relu MaxPool".
std::string OpsOf(const graph::Graph& graph);

// Random inputs in [-3, 3) for the graph, with `size` for unknown dimensions.
std::vector<Tensor> RandomInputs(const graph::Graph& graph, RandomNumbers& random, int64_t size);

// Runs the passes; outputs on random inputs must be what they were, computed by the reference
// functions. Reports failures to the test that runs. Returns the number of rewrites.
int ExpectSameFunction(graph::Graph& graph, std::span<const graph::Pass> passes, uint64_t seed,
                       double tolerance = 1e-4);

using Make = std::function<void(GraphMaker&)>;
using PassFn = absl::StatusOr<int> (*)(graph::Graph&);

// For many seeds: the pass leaves these operators and keeps the function.
void ExpectRewrite(PassFn pass, const Make& make, const std::string& ops);

// The pass changes nothing.
void ExpectDecline(PassFn pass, const Make& make, const std::string& why);

}  // namespace octet::testing
