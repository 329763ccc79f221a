#include "tests/support/single_node.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/weight_cache.h"
#include "tests/support/program_executor.h"

namespace octet::testing {
namespace {

graph::ValueId AddOperand(graph::Graph& graph, const Operand& operand, const std::string& name) {
  if (operand.constant) return graph.AddConstant(name, operand.tensor, operand.quant);
  return graph.AddInput(
      {}, name,
      {.dtype = operand.tensor.dtype(), .shape = operand.tensor.shape(), .quant = operand.quant});
}

graph::Graph GraphOf(const SingleNode& single) {
  graph::Graph graph(kernels::Registry());
  graph::Node node{
      .op = single.op, .name = "node", .attributes = single.attributes, .fused = single.fused};
  for (size_t i = 0; i < single.inputs.size(); ++i) {
    if (!single.inputs[i]) {
      node.inputs.push_back(graph::kNoValue);
      continue;
    }
    graph::ValueId id = AddOperand(graph, *single.inputs[i], absl::StrCat("input", i));
    if (single.transposed_input == static_cast<int>(i)) {
      id = graph.Apply(
          "Transpose", "transpose", {id}, {{"perm", single.permutation}},
          {.dtype = single.inputs[i]->tensor.dtype(), .quant = single.inputs[i]->quant});
    }
    node.inputs.push_back(id);
  }
  const graph::ValueId output = graph.AddValue("output", single.output);
  node.outputs = {output};
  graph.AddNode(std::move(node));
  graph.AddOutput(output, "output", single.output.dtype);
  return graph;
}

std::vector<Tensor> RequestInputs(const SingleNode& single) {
  std::vector<Tensor> inputs;
  for (const std::optional<Operand>& operand : single.inputs) {
    if (operand && !operand->constant) inputs.push_back(operand->tensor);
  }
  return inputs;
}

}  // namespace

absl::StatusOr<kernels::Program> LowerSingle(const SingleNode& single) {
  std::vector<Shape> shapes;
  for (const Tensor& input : RequestInputs(single)) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const graph::Graph concrete, graph::Specialize(GraphOf(single), shapes));
  kernels::WeightCache weights;
  return kernels::LowerGraph(concrete, weights);
}

absl::StatusOr<Tensor> RunSingle(const SingleNode& single) {
  OCTET_ASSIGN_OR_RETURN(const kernels::Program program, LowerSingle(single));
  OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs,
                         RunProgram(program, RequestInputs(single)));
  return outputs[0];
}

graph::QuantParams PerTensor(float scale, int32_t zero_point) {
  return {.scales = {scale}, .zero_points = {zero_point}};
}

graph::QuantParams PerChannel(std::vector<float> scales, int axis) {
  std::vector<int32_t> zeros(scales.size(), 0);
  return {.scales = std::move(scales), .zero_points = std::move(zeros), .axis = axis};
}

}  // namespace octet::testing
