// octet.ExpandWeights: 4-bit weights as the int8 constants that they stand for, made each time a
// matrix product needs them. On real numbers it is the constant itself.
//
//   inputs      0 codes (uint8), 1 scales (float32 by row, or uint16: float16 by group), 2 zero
//               points (uint8) or none, 3 levels (int8) or none; constants as in quant/storage.h
//   attributes  columns, group, exponent, is_signed, shape
//   output      int8 with a scale for each row, which is an index of the quantizer's axis

#include "kernels/expand_weights.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"

namespace octet::kernels {
namespace {

using graph::TensorType;

constexpr char kType[] = "octet.ExpandWeights";
constexpr size_t kCodes = 0, kScales = 1, kZeroPoints = 2, kLevels = 3, kInputs = 4;

// Null where an input is left out.
using InputTypes = std::array<const TensorType*, kInputs>;
// Of the inputs and the rows' scales.
using Addresses = std::array<const std::byte*, kInputs + 1>;

// What does not change with the addresses of the operands.
absl::StatusOr<PackedNibbles> Describe(const graph::Node& node, const InputTypes& inputs,
                                       const TensorType& output) {
  if (!output.quant || !output.quant->axis || output.shape.size() != 2) {
    return absl::UnimplementedError("weights without a scale for each row of a matrix");
  }
  PackedNibbles nibbles{.rows = output.shape[static_cast<size_t>(*output.quant->axis)],
                        .columns = node.Int("columns", 0),
                        .group = node.Int("group", 0),
                        .exponent = static_cast<int>(node.Int("exponent", 0)),
                        .is_signed = node.Int("is_signed", 0) != 0,
                        .grouped = inputs[kScales]->dtype == DataType::kUint16};
  nibbles.levels_by_row =
      inputs[kLevels] != nullptr && ElementCount(inputs[kLevels]->shape) == 16 * nibbles.rows;
  const bool fits =
      nibbles.columns > 0 && nibbles.group > 0 && nibbles.group <= nibbles.columns &&
      (nibbles.group % 2 == 0 || nibbles.group == nibbles.columns) &&
      nibbles.rows * nibbles.columns == ElementCount(output.shape) &&
      static_cast<int64_t>(output.quant->scales.size()) == nibbles.rows &&
      ElementCount(inputs[kCodes]->shape) == nibbles.rows * ((nibbles.columns + 1) / 2) &&
      ElementCount(inputs[kScales]->shape) ==
          nibbles.rows * (nibbles.grouped ? nibbles.groups_per_row() : 1) &&
      (inputs[kLevels] != nullptr || nibbles.is_signed || inputs[kZeroPoints] != nullptr);
  if (fits) return nibbles;
  return absl::UnimplementedError(absl::StrCat("groups of ", nibbles.group, " of ", nibbles.columns,
                                               " columns in ", ElementCount(inputs[kCodes]->shape),
                                               " bytes"));
}

PackedNibbles Bound(PackedNibbles nibbles, const Addresses& addresses) {
  nibbles.codes = reinterpret_cast<const uint8_t*>(addresses[kCodes]);
  nibbles.segment_scales = addresses[kScales];
  nibbles.zero_points = reinterpret_cast<const uint8_t*>(addresses[kZeroPoints]);
  nibbles.levels = reinterpret_cast<const int8_t*>(addresses[kLevels]);
  nibbles.scales = reinterpret_cast<const float*>(addresses[kInputs]);
  return nibbles;
}

}  // namespace

const graph::Node* ExpansionOf(const graph::Graph& graph, graph::ValueId value) {
  const auto producer = graph.value(value).producer;
  return producer && graph.node(*producer).op == kType ? &graph.node(*producer) : nullptr;
}

graph::ValueId CopyExpansion(const graph::Graph& from, const graph::Node& node, graph::Graph& to) {
  std::vector<graph::ValueId> inputs;
  inputs.reserve(node.inputs.size());
  for (const graph::ValueId input : node.inputs) {
    inputs.push_back(input == graph::kNoValue
                         ? input
                         : to.AddConstant(from.value(input).name, *from.value(input).constant));
  }
  return to.Apply(kType, node.name, std::move(inputs), node.attributes,
                  from.value(node.outputs[0]).type);
}

absl::StatusOr<Tensor> ExpandedWeights(const graph::Graph& graph, const graph::Node& node) {
  InputTypes types{};
  Addresses addresses{};
  for (size_t i = 0; i < kInputs; ++i) {
    if (!node.HasInput(i)) continue;
    const graph::Value& value = graph.value(node.inputs[i]);
    if (!value.constant || !value.constant->has_bytes()) {
      return absl::FailedPreconditionError(absl::StrCat(value.name, " has no bytes"));
    }
    types[i] = &value.type;
    addresses[i] = value.constant->data();
  }
  const TensorType& output = graph.value(node.outputs[0]).type;
  OCTET_ASSIGN_OR_RETURN(const PackedNibbles described, Describe(node, types, output));
  addresses[kInputs] = reinterpret_cast<const std::byte*>(output.quant->scales.data());
  const PackedNibbles nibbles = Bound(described, addresses);
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kInt8, output.shape));
  const std::span<int8_t> codes = result.MutableAs<int8_t>();
  const bool transposed = *output.quant->axis == 1;
  for (int64_t row = 0; row < nibbles.rows; ++row) {
    for (int64_t column = 0; column < nibbles.columns; ++column) {
      const int64_t at = transposed ? column * nibbles.rows + row : row * nibbles.columns + column;
      codes[static_cast<size_t>(at)] = ExpandedElement(nibbles, row, column);
    }
  }
  return result;
}

namespace ops {
namespace {

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  const std::vector<int64_t> dims = context.node().Ints("shape");
  if (dims.size() != 2 || dims[0] < 1 || dims[1] < 1) {
    return absl::InvalidArgumentError("expected the shape of a matrix");
  }
  return std::vector<TensorType>{{.shape = Shape(dims.begin(), dims.end())}};
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  InputTypes types{};
  std::vector<int> inputs(kInputs, -1);
  for (size_t i = 0; i < kInputs; ++i) {
    const int input = static_cast<int>(i);
    if (input >= context.input_count() || !context.has_input(input)) continue;
    types[i] = &context.input_type(input);
    OCTET_ASSIGN_OR_RETURN(inputs[i], context.Plain(input));
  }
  const TensorType& output = context.output_type(0);
  OCTET_ASSIGN_OR_RETURN(const PackedNibbles nibbles, Describe(context.node(), types, output));
  inputs.push_back(context.SmallConstant(Tensor::Of<float>({nibbles.rows}, output.quant->scales)));
  // A row is a column of a matrix whose axis is the last: it lies transposed.
  const dnnl::memory::dims dims(output.shape.begin(), output.shape.end());
  const bool transposed = *output.quant->axis == 1;
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, dims[0]} : dnnl::memory::dims{dims[1], 1};
  const int result = context.OutputInLayout(0, {dims, dnnl::memory::data_type::s8, strides});
  context.Emit(
      MakeKernel("octet:expand_weights",
                 [nibbles](const StepMemory& memory) {
                   Addresses addresses{};
                   std::copy(memory.inputs.begin(), memory.inputs.end(), addresses.begin());
                   ExpandRows(Bound(nibbles, addresses),
                              reinterpret_cast<int8_t*>(memory.outputs[0]), nibbles.columns);
                   return absl::OkStatus();
                 }),
      inputs, {result});
  return true;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = kType, .min_inputs = 2, .max_inputs = 4, .infer = Infer}, .lower = Lower},
};

}  // namespace

std::span<const Operator> expand_weights() { return kOperators; }

}  // namespace ops
}  // namespace octet::kernels
