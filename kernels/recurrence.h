// What ONNX's recurrent operators (RNN, GRU, LSTM) share: their attributes, the shapes of their
// operands, and the activation functions of their gates.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/node.h"
#include "kernels/infer.h"

namespace octet::kernels {

// The operands' numbers, for all three operators; only LSTM has the last two.
struct RecurrentOperand {
  static constexpr int kInput = 0, kWeights = 1, kRecurrentWeights = 2, kBias = 3,
                       kSequenceLengths = 4, kInitialState = 5, kInitialCell = 6, kPeepholes = 7;
};

// A function of a gate; the formulas are those of the LSTM operator's specification.
struct GateFunction {
  enum class Kind : uint8_t {
    kSigmoid,
    kTanh,
    kRelu,
    kAffine,
    kLeakyRelu,
    kThresholdedRelu,
    kScaledTanh,
    kHardSigmoid,
    kElu,
    kSoftsign,
    kSoftplus
  };

  Kind kind = Kind::kSigmoid;
  float alpha = 0;
  float beta = 0;

  void Apply(std::span<float> values) const;
};

// How the three operators differ.
struct RecurrentCell {
  int gates = 1;          // blocks of rows in the weights
  int functions = 1;      // for each direction
  bool has_cell = false;  // a second state
};
inline constexpr RecurrentCell kRnnCell = {.gates = 1, .functions = 1};
inline constexpr RecurrentCell kGruCell = {.gates = 3, .functions = 2};
inline constexpr RecurrentCell kLstmCell = {.gates = 4, .functions = 3, .has_cell = true};

struct Recurrence {
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, directions = 1;
  int64_t gates = 1;
  bool first_is_reverse = false;  // the second of two always is
  bool batch_first = false;       // attribute `layout`
  bool linear_before_reset = false;
  bool couples_input_forget = false;
  float clip = 0;  // bound of the functions' arguments; infinite if there is none
  std::vector<GateFunction> functions;  // RecurrentCell::functions for each direction

  bool reverse(int64_t direction) const { return direction == 1 || first_is_reverse; }

  // Shapes of all outputs together and of a last or initial state.
  Shape sequence_shape() const;
  Shape state_shape() const;
  // Where the `hidden` elements of a step and a sequence begin in such tensors, and in the input.
  int64_t SequenceOffset(int64_t step, int64_t direction, int64_t sequence) const;
  int64_t StateOffset(int64_t direction, int64_t sequence) const;
  int64_t InputOffset(int64_t step, int64_t sequence) const;
};

// From the attributes and the shapes of the input and its weights. InvalidArgument if they do not
// fit together.
absl::StatusOr<Recurrence> ReadRecurrence(const RecurrentCell& cell, const graph::Node& node,
                                          const Shape& input, const Shape& weights);

// The outputs' types, after checks of all operands.
absl::StatusOr<std::vector<TensorType>> InferRecurrence(const RecurrentCell& cell,
                                                        const InferContext& context);

}  // namespace octet::kernels
