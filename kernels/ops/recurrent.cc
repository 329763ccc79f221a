// RNN, GRU and LSTM. The projection of the input is computed for many steps at once, then the
// steps run one after the other.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/operator.h"
#include "kernels/recurrence.h"
#include "kernels/row_products.h"

namespace octet::kernels::ops {
namespace {

using Operand = RecurrentOperand;

// The parameters of one direction.
struct Direction {
  const float* weights = nullptr;            // [gates * hidden][inputs]
  const float* recurrent_weights = nullptr;  // [gates * hidden][hidden]
  const float* bias = nullptr;               // [2 * gates * hidden], null: zeros
  const float* peepholes = nullptr;          // [3 * hidden], null: zeros
  std::span<const GateFunction> functions;
};

// One step of all sequences. `gates` comes in as the projection of the input and is overwritten.
struct Step {
  float* gates = nullptr;        // [batch][gates * hidden]
  const float* state = nullptr;  // [batch][hidden]
  const float* cell = nullptr;   // the same, LSTM only
  float* next_state = nullptr;
  float* next_cell = nullptr;
  float* scratch = nullptr;  // [batch][hidden]
};

using StepFn = void (*)(const Recurrence&, const Direction&, const Step&);

void Apply(const GateFunction& function, float clip, std::span<float> values) {
  if (!std::isinf(clip)) {
    for (float& value : values) value = std::clamp(value, -clip, clip);
  }
  function.Apply(values);
}

// to[sequence][first..] += the state times the rows of the recurrent weights from `first` on.
void AddRecurrent(const Recurrence& recurrence, const Direction& direction, const float* state,
                  int64_t first, int64_t count, float* to, int64_t stride) {
  AddRowProducts({.left = state,
                  .rows = recurrence.batch,
                  .depth = recurrence.hidden,
                  .right = direction.recurrent_weights + first * recurrence.hidden,
                  .columns = count,
                  .sums = to,
                  .sums_stride = stride});
}

void RnnStep(const Recurrence& recurrence, const Direction& direction, const Step& step) {
  const int64_t hidden = recurrence.hidden, size = recurrence.batch * hidden;
  AddRecurrent(recurrence, direction, step.state, 0, hidden, step.gates, hidden);
  Apply(direction.functions[0], recurrence.clip, {step.gates, static_cast<size_t>(size)});
  std::copy(step.gates, step.gates + size, step.next_state);
}

// The rows of the weights: update, reset, hidden.
void GruStep(const Recurrence& recurrence, const Direction& direction, const Step& step) {
  const int64_t hidden = recurrence.hidden, width = 3 * hidden;
  const size_t length = static_cast<size_t>(hidden);
  const bool linear = recurrence.linear_before_reset;
  AddRecurrent(recurrence, direction, step.state, 0, 2 * hidden, step.gates, width);
  for (int64_t b = 0; b < recurrence.batch; ++b) {
    Apply(direction.functions[0], recurrence.clip, {step.gates + b * width, 2 * length});
  }
  if (linear) {
    for (int64_t b = 0; b < recurrence.batch; ++b) {
      float* const to = step.scratch + b * hidden;
      if (direction.bias == nullptr) {
        std::fill(to, to + hidden, 0.0f);
      } else {
        std::copy_n(direction.bias + width + 2 * hidden, hidden, to);
      }
    }
    AddRecurrent(recurrence, direction, step.state, 2 * hidden, hidden, step.scratch, hidden);
  }
  for (int64_t b = 0; b < recurrence.batch; ++b) {
    const float* const reset = step.gates + b * width + hidden;
    float* const candidate = step.gates + b * width + 2 * hidden;
    const float* const state = step.state + b * hidden;
    float* const scratch = step.scratch + b * hidden;
    if (linear) {
      for (int64_t i = 0; i < hidden; ++i) candidate[i] += reset[i] * scratch[i];
    } else {
      for (int64_t i = 0; i < hidden; ++i) scratch[i] = reset[i] * state[i];
    }
  }
  if (!linear) {
    AddRecurrent(recurrence, direction, step.scratch, 2 * hidden, hidden, step.gates + 2 * hidden,
                 width);
  }
  for (int64_t b = 0; b < recurrence.batch; ++b) {
    const float* const update = step.gates + b * width;
    float* const candidate = step.gates + b * width + 2 * hidden;
    Apply(direction.functions[1], recurrence.clip, {candidate, length});
    for (int64_t i = 0; i < hidden; ++i) {
      step.next_state[b * hidden + i] =
          (1 - update[i]) * candidate[i] + update[i] * step.state[b * hidden + i];
    }
  }
}

void AddProduct(const float* a, const float* b, int64_t size, float* to) {
  for (int64_t i = 0; i < size; ++i) to[i] += a[i] * b[i];
}

// The rows of the weights: input, output, forget, cell; peepholes: input, output, forget.
void LstmStep(const Recurrence& recurrence, const Direction& direction, const Step& step) {
  const int64_t hidden = recurrence.hidden, width = 4 * hidden;
  const size_t length = static_cast<size_t>(hidden);
  const GateFunction& gate = direction.functions[0];
  const float* const peepholes = direction.peepholes;
  AddRecurrent(recurrence, direction, step.state, 0, width, step.gates, width);
  for (int64_t b = 0; b < recurrence.batch; ++b) {
    float* const input = step.gates + b * width;
    float* const output = input + hidden;
    float* const forget = output + hidden;
    float* const candidate = forget + hidden;
    const float* const cell = step.cell + b * hidden;
    float* const next_cell = step.next_cell + b * hidden;
    float* const next_state = step.next_state + b * hidden;
    if (peepholes != nullptr) {
      AddProduct(peepholes, cell, hidden, input);
      AddProduct(peepholes + 2 * hidden, cell, hidden, forget);
    }
    Apply(gate, recurrence.clip, {input, length});
    if (recurrence.couples_input_forget) {
      for (int64_t i = 0; i < hidden; ++i) forget[i] = 1 - input[i];
    } else {
      Apply(gate, recurrence.clip, {forget, length});
    }
    Apply(direction.functions[1], recurrence.clip, {candidate, length});
    for (int64_t i = 0; i < hidden; ++i) {
      next_cell[i] = forget[i] * cell[i] + input[i] * candidate[i];
    }
    if (peepholes != nullptr) AddProduct(peepholes + hidden, next_cell, hidden, output);
    Apply(gate, recurrence.clip, {output, length});
    std::copy(next_cell, next_cell + hidden, next_state);
    // Not clipped, though the specification says "the input of activations": ONNX Runtime clips
    // the gates only, and that is what models are checked with.
    direction.functions[2].Apply({next_state, length});
    for (int64_t i = 0; i < hidden; ++i) next_state[i] *= output[i];
  }
}

struct Operands {
  std::span<const ConstTensorView> inputs;
  std::span<TensorView> outputs;

  const float* Input(size_t index) const {
    return index < inputs.size() && inputs[index].present() ? inputs[index].As<float>().data()
                                                            : nullptr;
  }
  float* Output(size_t index) const {
    return index < outputs.size() && outputs[index].present() ? outputs[index].As<float>().data()
                                                              : nullptr;
  }
};

// Steps whose projections are computed together: enough to use the weights well from the cache,
// few enough that the block stays in it.
int64_t BlockSteps(const Recurrence& recurrence) {
  constexpr int64_t kElements = 64 << 10;
  const int64_t widest = std::max(recurrence.gates * recurrence.hidden, recurrence.inputs);
  return std::clamp<int64_t>(kElements / std::max<int64_t>(1, recurrence.batch * widest), 1,
                             std::max<int64_t>(1, recurrence.steps));
}

// Runs one direction. A sequence that has ended keeps its states while the others go on.
class DirectionRun {
 public:
  DirectionRun(const RecurrentCell& cell, const Recurrence& recurrence, int64_t index,
               const Operands& operands, const std::vector<int64_t>& lengths)
      : recurrence_(recurrence), index_(index), operands_(operands), lengths_(lengths) {
    const int64_t hidden = recurrence.hidden, rows = recurrence.gates * hidden;
    direction_.weights = operands.Input(Operand::kWeights) + index * rows * recurrence.inputs;
    direction_.recurrent_weights =
        operands.Input(Operand::kRecurrentWeights) + index * rows * hidden;
    if (const float* bias = operands.Input(Operand::kBias)) {
      direction_.bias = bias + index * 2 * rows;
    }
    if (const float* peepholes = operands.Input(Operand::kPeepholes)) {
      direction_.peepholes = peepholes + index * 3 * hidden;
    }
    direction_.functions =
        std::span(recurrence.functions).subspan(index * cell.functions, cell.functions);
    InitializeBias();
    state_ = InitialState(Operand::kInitialState);
    if (cell.has_cell) cell_ = InitialState(Operand::kInitialCell);
    next_state_.resize(state_.size());
    next_cell_.resize(cell_.size());
    scratch_.resize(state_.size());
  }

  void Run(StepFn function) {
    const int64_t block = BlockSteps(recurrence_);
    const int64_t longest =
        lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end());
    for (int64_t first = 0; first < longest; first += block) {
      const int64_t end = std::min(longest, first + block);
      Project(first, end);
      for (int64_t step = first; step < end; ++step) {
        function(recurrence_, direction_,
                 {.gates = gates_.data() +
                           (step - first) * recurrence_.batch * static_cast<int64_t>(bias_.size()),
                  .state = state_.data(),
                  .cell = cell_.data(),
                  .next_state = next_state_.data(),
                  .next_cell = next_cell_.data(),
                  .scratch = scratch_.data()});
        Advance(step);
      }
    }
    StoreState(state_, operands_.Output(1));
    if (!cell_.empty()) StoreState(cell_, operands_.Output(2));
  }

 private:
  // Both biases are added to the projection, except what GRU's reset gate multiplies.
  void InitializeBias() {
    const int64_t hidden = recurrence_.hidden, rows = recurrence_.gates * hidden;
    bias_.assign(static_cast<size_t>(rows), 0.0f);
    if (direction_.bias == nullptr) return;
    for (int64_t i = 0; i < rows; ++i) {
      const bool apart = recurrence_.linear_before_reset && i >= 2 * hidden;
      bias_[i] = direction_.bias[i] + (apart ? 0 : direction_.bias[rows + i]);
    }
  }

  std::vector<float> InitialState(int operand) const {
    const int64_t hidden = recurrence_.hidden;
    std::vector<float> state(static_cast<size_t>(recurrence_.batch * hidden), 0.0f);
    const float* const from = operands_.Input(static_cast<size_t>(operand));
    for (int64_t b = 0; from != nullptr && b < recurrence_.batch; ++b) {
      std::copy_n(from + recurrence_.StateOffset(index_, b), hidden, state.data() + b * hidden);
    }
    return state;
  }

  // The place in its sequence that is the direction's step number `step`.
  int64_t Place(int64_t step, int64_t sequence) const {
    return recurrence_.reverse(index_) ? lengths_[sequence] - 1 - step : step;
  }

  // gates_ = the inputs of steps [first, end) times the weights, and biases.
  void Project(int64_t first, int64_t end) {
    const int64_t inputs = recurrence_.inputs, batch = recurrence_.batch;
    const int64_t rows = (end - first) * batch, width = static_cast<int64_t>(bias_.size());
    rows_.assign(static_cast<size_t>(rows * inputs), 0.0f);
    gates_.resize(static_cast<size_t>(rows * width));
    for (int64_t step = first; step < end; ++step) {
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t row = (step - first) * batch + b;
        std::copy(bias_.begin(), bias_.end(), gates_.begin() + row * width);
        if (step >= lengths_[b]) continue;
        std::copy_n(operands_.Input(Operand::kInput) + recurrence_.InputOffset(Place(step, b), b),
                    inputs, rows_.data() + row * inputs);
      }
    }
    AddRowProducts({.left = rows_.data(),
                    .rows = rows,
                    .depth = inputs,
                    .right = direction_.weights,
                    .columns = width,
                    .sums = gates_.data(),
                    .sums_stride = width});
  }

  void Advance(int64_t step) {
    const int64_t hidden = recurrence_.hidden;
    float* const outputs = operands_.Output(0);
    for (int64_t b = 0; b < recurrence_.batch; ++b) {
      if (step >= lengths_[b]) continue;
      const float* const next = next_state_.data() + b * hidden;
      std::copy_n(next, hidden, state_.data() + b * hidden);
      if (!cell_.empty()) {
        std::copy_n(next_cell_.data() + b * hidden, hidden, cell_.data() + b * hidden);
      }
      if (outputs == nullptr) continue;
      std::copy_n(next, hidden, outputs + recurrence_.SequenceOffset(Place(step, b), index_, b));
    }
  }

  void StoreState(const std::vector<float>& state, float* to) const {
    const int64_t hidden = recurrence_.hidden;
    for (int64_t b = 0; to != nullptr && b < recurrence_.batch; ++b) {
      std::copy_n(state.data() + b * hidden, hidden, to + recurrence_.StateOffset(index_, b));
    }
  }

  const Recurrence& recurrence_;
  const int64_t index_;
  const Operands& operands_;
  const std::vector<int64_t>& lengths_;
  Direction direction_;
  std::vector<float> bias_, state_, cell_, next_state_, next_cell_, scratch_, rows_, gates_;
};

// The lengths come with the request.
absl::StatusOr<std::vector<int64_t>> Lengths(const Recurrence& recurrence,
                                             std::span<const ConstTensorView> inputs) {
  const size_t batch = static_cast<size_t>(recurrence.batch);
  if (inputs.size() <= Operand::kSequenceLengths || !inputs[Operand::kSequenceLengths].present()) {
    return std::vector<int64_t>(batch, recurrence.steps);
  }
  const std::span<const int32_t> given = inputs[Operand::kSequenceLengths].As<int32_t>();
  for (const int32_t length : given) {
    if (length >= 0 && length <= recurrence.steps) continue;
    return absl::InvalidArgumentError(absl::StrCat("a sequence length is ", length,
                                                   ", the input has ", recurrence.steps, " steps"));
  }
  return std::vector<int64_t>(given.begin(), given.end());
}

absl::Status Run(const RecurrentCell& cell, StepFn function, const graph::Node& node,
                 const Operands& operands) {
  OCTET_ASSIGN_OR_RETURN(const Recurrence recurrence,
                         ReadRecurrence(cell, node, operands.inputs[Operand::kInput].shape,
                                        operands.inputs[Operand::kWeights].shape));
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths, Lengths(recurrence, operands.inputs));
  if (float* const outputs = operands.Output(0)) {
    std::fill_n(outputs, operands.outputs[0].size(), 0.0f);  // what comes after a sequence's end
  }
  for (int64_t index = 0; index < recurrence.directions; ++index) {
    DirectionRun(cell, recurrence, index, operands, lengths).Run(function);
  }
  return absl::OkStatus();
}

template <const RecurrentCell& kCell>
absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  return InferRecurrence(kCell, context);
}

template <const RecurrentCell& kCell, StepFn kFunction>
absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  return Run(kCell, kFunction, node, {.inputs = inputs, .outputs = outputs});
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "RNN",
                .min_inputs = 3,
                .max_inputs = 6,
                .infer = Infer<kRnnCell>,
                .reference = Reference<kRnnCell, RnnStep>}},
    {.schema = {.type = "GRU",
                .min_inputs = 3,
                .max_inputs = 6,
                .infer = Infer<kGruCell>,
                .reference = Reference<kGruCell, GruStep>}},
    {.schema = {.type = "LSTM",
                .min_inputs = 3,
                .max_inputs = 8,
                .infer = Infer<kLstmCell>,
                .reference = Reference<kLstmCell, LstmStep>}},
};

}  // namespace

std::span<const Operator> recurrent() { return kOperators; }

}  // namespace octet::kernels::ops
