// A graph lowered for concrete shapes: the steps to run and the buffers between them.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/types.h"
#include "kernels/kernel.h"

namespace octet::kernels {

struct Buffer {
  size_t bytes = 0;
  // Weights and other constants: their address, which outlives the program. Null: lives in the
  // context's arena.
  const std::byte* constant = nullptr;
  bool in_file = false;  // a constant whose pages may be dropped, see TensorFile
};

struct Step {
  std::unique_ptr<Kernel> kernel;
  std::vector<int> inputs;   // indices into Program::buffers; -1 for an operand left out
  std::vector<int> outputs;  // likewise
  std::string node;          // the graph node this step belongs to
  std::string op;
  std::string layout;     // of the first output: "nchw", "nhwc", "blocked", ...
  int64_t macs = 0;       // multiply-accumulates
  bool int8 = false;      // done in int8 arithmetic
  bool bfloat16 = false;  // products of bfloat16, sums in float32
};

// An output that nobody waits for: it is complete before step `step` runs (after the last, if there
// is no such step), and its buffer is used again from there on.
struct EarlyOutput {
  size_t step = 0;
  size_t output = 0;  // index in Program::outputs
};

struct Program {
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  // Dense row-major buffers, one for each input and output of the graph.
  std::vector<int> inputs;
  std::vector<int> outputs;
  std::vector<EarlyOutput> early_outputs;  // by step
  std::vector<graph::TensorType> input_types;
  std::vector<graph::TensorType> output_types;
  size_t scratch_bytes = 0;                            // the largest of all steps
  std::vector<std::shared_ptr<const void>> constants;  // keeps Buffer::constant alive
};

}  // namespace octet::kernels
