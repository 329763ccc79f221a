// ONNX Runtime's operators on codes (domain com.microsoft, QLinear...), as its quantizer writes
// them in QOperator format. They have shapes here and nothing else: graph/passes/expand_qlinear.cc
// puts DequantizeLinear, the operator on real numbers, and QuantizeLinear in their place.

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/integer_operand.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

using Types = absl::StatusOr<std::vector<TensorType>>;

absl::Status Require(const InferContext& context, std::initializer_list<int> inputs) {
  for (const int i : inputs) {
    if (!context.has_input(i)) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is missing"));
    }
  }
  return absl::OkStatus();
}

// The shape of the operator `op` on real numbers, with the elements of the first operand.
// `channels_last`: the operands are [batch, ..., channels].
Types InferReal(const InferContext& context, absl::string_view op, std::vector<int> operands,
                bool channels_last = false) {
  std::vector<TensorType> real;
  for (const int i : operands) {
    if (!context.has_input(i)) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " is missing"));
    }
    OCTET_RETURN_IF_ERROR(ExpectCodes(context, i));
    Shape shape = context.shape(i);
    if (channels_last && shape.size() >= 3) {
      const int64_t channels = shape.back();
      shape.pop_back();
      shape.insert(shape.begin() + 1, channels);
    }
    real.push_back({.shape = std::move(shape)});
  }
  std::vector<const TensorType*> types;
  types.reserve(real.size());
  for (const TensorType& type : real) types.push_back(&type);
  const std::vector<const Tensor*> constants(types.size(), nullptr);
  graph::Node node = context.node();
  node.op = std::string(op);
  OCTET_ASSIGN_OR_RETURN(std::vector<TensorType> result,
                         Registry().FindNewest(op)->infer(InferContext(node, types, constants)));
  result.resize(1);
  result[0].dtype = context.input(operands[0]).dtype;
  Shape& shape = result[0].shape;
  if (channels_last && shape.size() >= 3) {
    shape.push_back(shape[1]);
    shape.erase(shape.begin() + 1);
  }
  return result;
}

Types InferBinary(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(Require(context, {1, 4, 6}));
  return InferReal(context, "Add", {0, 3});
}

Types InferGemm(const InferContext& context) {
  constexpr int kOutputScale = 7, kOutputZero = 8;
  OCTET_RETURN_IF_ERROR(Require(context, {1, 4}));
  OCTET_ASSIGN_OR_RETURN(std::vector<TensorType> types, InferReal(context, "Gemm", {0, 3}));
  if (context.has_input(kOutputZero)) types[0].dtype = context.input(kOutputZero).dtype;
  if (!context.has_input(kOutputScale)) types[0].dtype = DataType::kFloat32;
  return types;
}

Types InferConcat(const InferContext& context) {
  if (context.input_count() % 3 != 2) {
    return absl::InvalidArgumentError("expected a tensor, a scale and a zero point each");
  }
  std::vector<int> operands;
  for (int i = 2; i < context.input_count(); i += 3) operands.push_back(i);
  return InferReal(context, "Concat", std::move(operands));
}

bool ChannelsLast(const InferContext& context) {
  return context.node().Int("channels_last", 0) != 0;
}

Types InferUnary(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(Require(context, {1, 3}));
  return InferReal(context, "Relu", {0});
}

Types InferAveragePool(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(Require(context, {1, 3}));
  return InferReal(context, "AveragePool", {0}, ChannelsLast(context));
}

Types InferGlobalAveragePool(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(Require(context, {1, 3}));
  return InferReal(context, "GlobalAveragePool", {0}, ChannelsLast(context));
}

constexpr Operator Row(absl::string_view type, int max_inputs, graph::InferFn infer) {
  return {.schema = {.type = type,
                     .min_inputs = max_inputs == graph::OpSchema::kVariadic ? 5 : 1,
                     .max_inputs = max_inputs,
                     .infer = infer}};
}

constexpr std::array kOperators = {
    Row("com.microsoft.QGemm", 9, InferGemm),
    Row("com.microsoft.QLinearAdd", 8, InferBinary),
    Row("com.microsoft.QLinearMul", 8, InferBinary),
    Row("com.microsoft.QLinearConcat", graph::OpSchema::kVariadic, InferConcat),
    Row("com.microsoft.QLinearAveragePool", 5, InferAveragePool),
    Row("com.microsoft.QLinearGlobalAveragePool", 5, InferGlobalAveragePool),
    Row("com.microsoft.QLinearLeakyRelu", 5, InferUnary),
    Row("com.microsoft.QLinearSigmoid", 5, InferUnary),
    Row("com.microsoft.QLinearSoftmax", 5, InferUnary),
};

}  // namespace

std::span<const Operator> microsoft_quantized() { return kOperators; }

}  // namespace octet::kernels::ops
