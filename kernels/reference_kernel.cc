#include "kernels/reference_kernel.h"

#include <utility>

#include "base/status.h"
#include "graph/op_schema.h"

namespace octet::kernels {
namespace {

class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const graph::Node& node, std::vector<graph::TensorType> inputs,
                  std::vector<graph::TensorType> outputs)
      : node_(node), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  std::string implementation() const override { return "octet:plain"; }

  std::unique_ptr<BoundKernel> Bind(const StepMemory& memory) const override {
    auto bound = std::make_unique<Bound>(node_);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      bound->inputs.push_back({inputs_[i].dtype, inputs_[i].shape, memory.inputs[i]});
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      bound->outputs.push_back({outputs_[i].dtype, outputs_[i].shape, memory.outputs[i]});
    }
    return bound;
  }

 private:
  struct Bound final : public BoundKernel {
    explicit Bound(const graph::Node& bound_node) : node(bound_node) {}
    absl::Status Run() override {
      const absl::Status status = node.schema->reference(node, inputs, outputs);
      return status.ok() ? status : Annotate(status, node.name);
    }
    const graph::Node& node;  // the kernel's, which outlives the context
    std::vector<ConstTensorView> inputs;
    std::vector<TensorView> outputs;
  };

  const graph::Node node_;
  const std::vector<graph::TensorType> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<Kernel> MakeReferenceKernel(const graph::Node& node,
                                            std::vector<graph::TensorType> inputs,
                                            std::vector<graph::TensorType> outputs) {
  return std::make_unique<ReferenceKernel>(node, std::move(inputs), std::move(outputs));
}

}  // namespace octet::kernels
