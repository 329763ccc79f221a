#include "tests/support/reference_executor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"

namespace octet::testing {
namespace {

using graph::FusedOp;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::QuantParams;
using graph::TensorType;
using graph::ValueId;

// Which scale and zero point belong to each element: elements of one channel lie in runs.
struct ChannelRuns {
  ChannelRuns(const QuantParams& quant, const Shape& shape) {
    if (!quant.axis) return;
    channels = static_cast<size_t>(shape[*quant.axis]);
    for (size_t d = static_cast<size_t>(*quant.axis) + 1; d < shape.size(); ++d) {
      run *= static_cast<size_t>(shape[d]);
    }
  }
  size_t ChannelOf(size_t element) const { return element / run % channels; }

  size_t channels = 1;
  size_t run = 1;
};

absl::StatusOr<Tensor> Dequantize(const Tensor& codes, const QuantParams& quant) {
  OCTET_ASSIGN_OR_RETURN(Tensor real, Tensor::Allocate(DataType::kFloat32, codes.shape()));
  const ChannelRuns runs(quant, codes.shape());
  VisitType(codes.dtype(), [&]<typename T>() {
    const auto from = codes.As<T>();
    const auto to = real.MutableAs<float>();
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t c = runs.ChannelOf(i);
      to[i] = static_cast<float>((static_cast<double>(from[i]) - quant.zero_points[c]) *
                                 quant.scales[c]);
    }
  });
  return real;
}

absl::StatusOr<Tensor> Quantize(const Tensor& real, const TensorType& type) {
  OCTET_ASSIGN_OR_RETURN(Tensor codes, Tensor::Allocate(type.dtype, real.shape()));
  const ChannelRuns runs(*type.quant, real.shape());
  VisitType(type.dtype, [&]<typename T>() {
    const auto from = real.As<float>();
    const auto to = codes.MutableAs<T>();
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t c = runs.ChannelOf(i);
      const double code = std::nearbyint(static_cast<double>(from[i]) / type.quant->scales[c]) +
                          type.quant->zero_points[c];
      to[i] = static_cast<T>(std::clamp(code, double{std::numeric_limits<T>::min()},
                                        static_cast<double>(std::numeric_limits<T>::max())));
    }
  });
  return codes;
}

// The ONNX operator that a fused one stands for. `operands` gets the inputs beside the first.
absl::StatusOr<Node> Unfused(const Graph& graph, const FusedOp& fused,
                             std::vector<Tensor>& operands) {
  Node node{.op = fused.op, .name = fused.op};
  if (fused.op == "Clip") {
    operands = {Tensor::Scalar(fused.alpha), Tensor::Scalar(fused.beta)};
  } else if (fused.op == "GeluTanh") {
    node.op = "Gelu";
    node.attributes.emplace("approximate", std::string("tanh"));
  } else if (fused.op == "HardSigmoid") {
    node.attributes.emplace("alpha", fused.alpha);
    node.attributes.emplace("beta", fused.beta);
  } else if (fused.op == "LeakyRelu" || fused.op == "Elu" || fused.op == "Swish") {
    node.attributes.emplace("alpha", fused.alpha);
  }
  node.schema = graph.registry().FindNewest(node.op);
  if (node.schema == nullptr || node.schema->reference == nullptr) {
    return absl::UnimplementedError(absl::StrCat("fused operator ", node.op, " has no reference"));
  }
  return node;
}

absl::StatusOr<Tensor> Linear(const FusedOp& fused, const Tensor& value) {
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(value.dtype(), value.shape()));
  const auto from = value.As<float>();
  const auto to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = fused.alpha * from[i] + fused.beta;
  return result;
}

class Evaluator {
 public:
  explicit Evaluator(const Graph& graph) : graph_(graph), stored_(graph.value_count()) {}

  absl::StatusOr<std::vector<Tensor>> Run(std::vector<Tensor> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      stored_[Index(graph_.inputs()[i].value)] = std::move(inputs[i]);
    }
    OCTET_ASSIGN_OR_RETURN(const std::vector<graph::NodeId> order, graph_.TopologicalOrder());
    for (const graph::NodeId id : order) {
      const Node& node = graph_.node(id);
      if (absl::Status status = RunNode(node); !status.ok()) {
        return Annotate(status, absl::StrCat("node ", node.name, " (", node.op, ")"));
      }
    }
    std::vector<Tensor> outputs;
    for (const graph::Output& output : graph_.outputs()) {
      OCTET_ASSIGN_OR_RETURN(Tensor tensor, Stored(output.value));
      outputs.push_back(std::move(tensor));
    }
    return outputs;
  }

 private:
  static size_t Index(ValueId id) { return static_cast<size_t>(id); }

  absl::StatusOr<Tensor> Stored(ValueId id) const {
    const graph::Value& value = graph_.value(id);
    if (value.constant) return *value.constant;
    if (stored_[Index(id)]) return *stored_[Index(id)];
    return absl::InternalError(absl::StrCat("value ", value.name, " was never computed"));
  }

  // The real numbers a value means.
  absl::StatusOr<Tensor> Real(ValueId id) const {
    OCTET_ASSIGN_OR_RETURN(Tensor stored, Stored(id));
    const auto& quant = graph_.value(id).type.quant;
    if (!quant) return stored;
    return Dequantize(stored, *quant);
  }

  absl::Status RunNode(const Node& node) {
    if (node.schema->reference == nullptr) {
      return absl::UnimplementedError("the operator has no reference function");
    }
    // Operands of fused operators stand behind the operator's own inputs.
    size_t own_inputs = node.inputs.size();
    for (const FusedOp& fused : node.fused) {
      if (fused.input >= 0) own_inputs = std::min(own_inputs, static_cast<size_t>(fused.input));
    }
    std::vector<Tensor> tensors(own_inputs);
    std::vector<ConstTensorView> inputs(own_inputs);
    for (size_t i = 0; i < own_inputs; ++i) {
      if (!node.HasInput(i)) continue;
      OCTET_ASSIGN_OR_RETURN(tensors[i], Real(node.inputs[i]));
      inputs[i] = tensors[i].view();
    }
    std::vector<Tensor> results(node.outputs.size());
    std::vector<TensorView> outputs(node.outputs.size());
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      const TensorType& type = graph_.value(node.outputs[i]).type;
      OCTET_ASSIGN_OR_RETURN(
          results[i], Tensor::Allocate(type.quant ? DataType::kFloat32 : type.dtype, type.shape));
      outputs[i] = results[i].mutable_view();
    }
    OCTET_RETURN_IF_ERROR(node.schema->reference(node, inputs, outputs));
    for (const FusedOp& fused : node.fused) {
      OCTET_ASSIGN_OR_RETURN(results[0], ApplyFused(node, fused, results[0]));
    }
    return Store(node, std::move(results));
  }

  absl::StatusOr<Tensor> ApplyFused(const Node& node, const FusedOp& fused,
                                    const Tensor& value) const {
    if (fused.op == "Linear") return Linear(fused, value);
    std::vector<Tensor> operands;
    OCTET_ASSIGN_OR_RETURN(const Node alone, Unfused(graph_, fused, operands));
    if (fused.input >= 0) {
      OCTET_ASSIGN_OR_RETURN(Tensor operand, Real(node.inputs[static_cast<size_t>(fused.input)]));
      operands.push_back(std::move(operand));
    }
    std::vector<ConstTensorView> inputs = {value.view()};
    for (const Tensor& operand : operands) inputs.push_back(operand.view());
    OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(value.dtype(), value.shape()));
    std::vector<TensorView> outputs = {result.mutable_view()};
    OCTET_RETURN_IF_ERROR(alone.schema->reference(alone, inputs, outputs));
    return result;
  }

  absl::Status Store(const Node& node, std::vector<Tensor> results) {
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      const TensorType& type = graph_.value(node.outputs[i]).type;
      if (type.quant) {
        OCTET_ASSIGN_OR_RETURN(results[i], Quantize(results[i], type));
      }
      stored_[Index(node.outputs[i])] = std::move(results[i]);
    }
    return absl::OkStatus();
  }

  const Graph& graph_;
  std::vector<std::optional<Tensor>> stored_;  // by ValueId, in the value's own type
};

}  // namespace

absl::StatusOr<std::vector<Tensor>> RunReference(const Graph& graph, std::vector<Tensor> inputs) {
  std::vector<Shape> shapes;
  shapes.reserve(inputs.size());
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const Graph concrete, graph::Specialize(graph, shapes));
  return Evaluator(concrete).Run(std::move(inputs));
}

}  // namespace octet::testing
