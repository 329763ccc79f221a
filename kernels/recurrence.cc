#include "kernels/recurrence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/vector_math.h"

namespace octet::kernels {
namespace {

using Operand = RecurrentOperand;
using Kind = GateFunction::Kind;

// A function's name in `activations`, which of the parameters it takes, and their defaults.
struct NamedFunction {
  absl::string_view name;
  bool takes_alpha, takes_beta;
  GateFunction function;
};

constexpr NamedFunction kFunctions[] = {
    {"Sigmoid", false, false, {Kind::kSigmoid}},
    {"Tanh", false, false, {Kind::kTanh}},
    {"Relu", false, false, {Kind::kRelu}},
    {"Affine", true, true, {Kind::kAffine, 1, 0}},
    {"LeakyRelu", true, false, {Kind::kLeakyRelu, 0.01f}},
    {"ThresholdedRelu", true, false, {Kind::kThresholdedRelu, 1}},
    {"ScaledTanh", true, true, {Kind::kScaledTanh, 1, 1}},
    {"HardSigmoid", true, true, {Kind::kHardSigmoid, 0.2f, 0.5f}},
    {"Elu", true, false, {Kind::kElu, 1}},
    {"Softsign", false, false, {Kind::kSoftsign}},
    {"Softplus", false, false, {Kind::kSoftplus}},
};

absl::StatusOr<const NamedFunction*> FindFunction(absl::string_view name) {
  for (const NamedFunction& function : kFunctions) {
    if (absl::EqualsIgnoreCase(function.name, name)) return &function;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown activation '", name, "'"));
}

// Values of activation_alpha or activation_beta: one for each function that takes it, in order.
class Parameters {
 public:
  Parameters(const graph::Node& node, absl::string_view key)
      : key_(key), values_(node.Floats(key)) {}

  void Take(float& parameter) {
    taken_ = true;
    if (next_ < values_.size()) parameter = values_[next_++];
  }

  // Values that are left over might have been meant for other functions than those that took some.
  absl::Status CheckAllTaken() const {
    if (!taken_ || next_ == values_.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(key_, " has ", values_.size(), " values, the activations take ", next_));
  }

 private:
  absl::string_view key_;
  std::vector<float> values_;
  size_t next_ = 0;
  bool taken_ = false;
};

absl::StatusOr<std::vector<std::string>> FunctionNames(const RecurrentCell& cell,
                                                       const graph::Node& node,
                                                       int64_t directions) {
  const size_t wanted = static_cast<size_t>(cell.functions * directions);
  std::vector<std::string> names;
  if (const auto found = node.attributes.find("activations"); found != node.attributes.end()) {
    const auto* list = std::get_if<std::vector<std::string>>(&found->second);
    if (list == nullptr) return absl::InvalidArgumentError("activations is no list of strings");
    names = *list;
  }
  if (names.empty()) {
    for (size_t i = 0; i < wanted; ++i) {
      const bool gate = cell.functions > 1 && i % static_cast<size_t>(cell.functions) == 0;
      names.push_back(gate ? "Sigmoid" : "Tanh");
    }
  }
  // RNN's default value is a list of two, whatever the direction; models have it spelled out.
  if (cell.functions == 1 && names.size() == 2) names.resize(wanted);
  if (names.size() == wanted) return names;
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", wanted, " activations, got ", names.size()));
}

absl::StatusOr<std::vector<GateFunction>> ReadFunctions(const RecurrentCell& cell,
                                                        const graph::Node& node,
                                                        int64_t directions) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         FunctionNames(cell, node, directions));
  Parameters alphas(node, "activation_alpha"), betas(node, "activation_beta");
  std::vector<GateFunction> functions;
  for (const std::string& name : names) {
    OCTET_ASSIGN_OR_RETURN(const NamedFunction* named, FindFunction(name));
    GateFunction function = named->function;
    if (named->takes_alpha) alphas.Take(function.alpha);
    if (named->takes_beta) betas.Take(function.beta);
    functions.push_back(function);
  }
  OCTET_RETURN_IF_ERROR(alphas.CheckAllTaken());
  OCTET_RETURN_IF_ERROR(betas.CheckAllTaken());
  return functions;
}

absl::Status ReadDirection(const graph::Node& node, Recurrence& recurrence) {
  const std::string direction = node.String("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    return absl::InvalidArgumentError(absl::StrCat("unknown direction '", direction, "'"));
  }
  recurrence.first_is_reverse = direction == "reverse";
  recurrence.directions = direction == "bidirectional" ? 2 : 1;
  const int64_t layout = node.Int("layout", 0);
  if (layout != 0 && layout != 1) {
    return absl::InvalidArgumentError(absl::StrCat("layout must be 0 or 1, not ", layout));
  }
  recurrence.batch_first = layout == 1;
  return absl::OkStatus();
}

absl::Status ReadSizes(const RecurrentCell& cell, const graph::Node& node, const Shape& input,
                       const Shape& weights, Recurrence& recurrence) {
  if (input.size() != 3 || weights.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected an input and weights of 3 dimensions,"
                     " got ",
                     ToText(input), " and ", ToText(weights)));
  }
  recurrence.steps = input[recurrence.batch_first ? 1 : 0];
  recurrence.batch = input[recurrence.batch_first ? 0 : 1];
  recurrence.inputs = input[2];
  recurrence.gates = cell.gates;
  recurrence.hidden = weights[1] / cell.gates;
  const Shape expected = {recurrence.directions, cell.gates * recurrence.hidden, input[2]};
  if (weights != expected || recurrence.hidden == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("weights ", ToText(weights), " do not fit ", recurrence.directions,
                     " directions of ", cell.gates, " gates and an input ", ToText(input)));
  }
  if (const int64_t stated = node.Int("hidden_size", recurrence.hidden);
      stated != recurrence.hidden) {
    return absl::InvalidArgumentError(
        absl::StrCat("hidden_size is ", stated, ", but weights are ", ToText(weights)));
  }
  return absl::OkStatus();
}

absl::Status ExpectOperand(const InferContext& context, int input, DataType type,
                           const Shape& shape) {
  if (!context.has_input(input)) return absl::OkStatus();
  OCTET_RETURN_IF_ERROR(ExpectType(context, input, type));
  if (context.shape(input) == shape) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "input ", input, " must have shape ", ToText(shape), ", not ", ToText(context.shape(input))));
}

absl::Status CheckOperands(const Recurrence& recurrence, const InferContext& context) {
  const int64_t directions = recurrence.directions, hidden = recurrence.hidden;
  const int64_t rows = recurrence.gates * hidden;
  constexpr DataType kFloat = DataType::kFloat32;
  OCTET_RETURN_IF_ERROR(ExpectType(context, Operand::kInput, kFloat));
  OCTET_RETURN_IF_ERROR(ExpectType(context, Operand::kWeights, kFloat));
  OCTET_RETURN_IF_ERROR(
      ExpectOperand(context, Operand::kRecurrentWeights, kFloat, {directions, rows, hidden}));
  OCTET_RETURN_IF_ERROR(ExpectOperand(context, Operand::kBias, kFloat, {directions, 2 * rows}));
  OCTET_RETURN_IF_ERROR(
      ExpectOperand(context, Operand::kSequenceLengths, DataType::kInt32, {recurrence.batch}));
  const Shape state = recurrence.state_shape();
  OCTET_RETURN_IF_ERROR(ExpectOperand(context, Operand::kInitialState, kFloat, state));
  OCTET_RETURN_IF_ERROR(ExpectOperand(context, Operand::kInitialCell, kFloat, state));
  OCTET_RETURN_IF_ERROR(
      ExpectOperand(context, Operand::kPeepholes, kFloat, {directions, 3 * hidden}));
  // What a step needs besides its operands.
  return CheckedByteSize(kFloat, {recurrence.batch, rows}).status();
}

template <typename Function>
void ForEach(std::span<float> values, Function function) {
  for (float& value : values) value = function(value);
}

}  // namespace

void GateFunction::Apply(std::span<float> values) const {
  const float a = alpha, b = beta;
  switch (kind) {
    case Kind::kSigmoid:
      return VectorSigmoid(values, values);
    case Kind::kTanh:
      return VectorTanh(values, values);
    case Kind::kRelu:
      return ForEach(values, [](float x) { return x < 0 ? 0 : x; });
    case Kind::kAffine:
      return ForEach(values, [=](float x) { return a * x + b; });
    case Kind::kLeakyRelu:
      return ForEach(values, [=](float x) { return x < 0 ? a * x : x; });
    case Kind::kThresholdedRelu:
      return ForEach(values, [=](float x) { return x < a ? 0 : x; });
    case Kind::kScaledTanh:
      ForEach(values, [=](float x) { return b * x; });
      VectorTanh(values, values);
      return ForEach(values, [=](float x) { return a * x; });
    case Kind::kHardSigmoid:
      return ForEach(values, [=](float x) { return std::clamp(a * x + b, 0.0f, 1.0f); });
    case Kind::kElu:
      return ForEach(values, [=](float x) { return x < 0 ? a * std::expm1(x) : x; });
    case Kind::kSoftsign:
      return ForEach(values, [](float x) { return x / (1 + std::abs(x)); });
    case Kind::kSoftplus:
      return VectorSoftplus(values, values);
  }
}

Shape Recurrence::sequence_shape() const {
  return batch_first ? Shape{batch, steps, directions, hidden}
                     : Shape{steps, directions, batch, hidden};
}

Shape Recurrence::state_shape() const {
  return batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
}

int64_t Recurrence::SequenceOffset(int64_t step, int64_t direction, int64_t sequence) const {
  return hidden * (batch_first ? (sequence * steps + step) * directions + direction
                               : (step * directions + direction) * batch + sequence);
}

int64_t Recurrence::StateOffset(int64_t direction, int64_t sequence) const {
  return hidden * (batch_first ? sequence * directions + direction : direction * batch + sequence);
}

int64_t Recurrence::InputOffset(int64_t step, int64_t sequence) const {
  return inputs * (batch_first ? sequence * steps + step : step * batch + sequence);
}

absl::StatusOr<Recurrence> ReadRecurrence(const RecurrentCell& cell, const graph::Node& node,
                                          const Shape& input, const Shape& weights) {
  Recurrence recurrence;
  OCTET_RETURN_IF_ERROR(ReadDirection(node, recurrence));
  OCTET_RETURN_IF_ERROR(ReadSizes(cell, node, input, weights, recurrence));
  OCTET_ASSIGN_OR_RETURN(recurrence.functions, ReadFunctions(cell, node, recurrence.directions));
  recurrence.linear_before_reset =
      cell.gates == kGruCell.gates && node.Int("linear_before_reset", 0) != 0;
  recurrence.couples_input_forget = node.Int("input_forget", 0) != 0;
  recurrence.clip = node.Float("clip", std::numeric_limits<float>::infinity());
  if (recurrence.clip > 0) return recurrence;
  return absl::InvalidArgumentError(absl::StrCat("clip must be positive, not ", recurrence.clip));
}

absl::StatusOr<std::vector<TensorType>> InferRecurrence(const RecurrentCell& cell,
                                                        const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const Recurrence recurrence,
                         ReadRecurrence(cell, context.node(), context.shape(Operand::kInput),
                                        context.shape(Operand::kWeights)));
  OCTET_RETURN_IF_ERROR(CheckOperands(recurrence, context));
  std::vector<TensorType> types = {{.shape = recurrence.sequence_shape()},
                                   {.shape = recurrence.state_shape()}};
  if (cell.has_cell) types.push_back({.shape = recurrence.state_shape()});
  return types;
}

}  // namespace octet::kernels
