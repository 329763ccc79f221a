// Runs a graph by its reference functions and as a lowered program, on the same random inputs.

#pragma once

#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/types.h"

namespace octet::testing {

// Floats between -2 and 2, integers from the whole range; the same for the same seed.
Tensor RandomTensor(const graph::TensorType& type, uint32_t seed);

// A graph input of fixed shape.
graph::ValueId FixedInput(graph::Graph& graph, std::string name, graph::TensorType type);

struct BothResults {
  std::vector<Tensor> expected;              // by the reference functions
  std::vector<Tensor> actual;                // by the program
  std::vector<std::string> implementations;  // of the program's steps for `op`
};

// All inputs of fixed shape. Failures are reported to GoogleTest and leave the results empty.
BothResults RunBoth(const graph::Graph& graph, absl::string_view op);

}  // namespace octet::testing
