// Small graphs as the importer would make them.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"
#include "graph/infer.h"
#include "graph/pass.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"

namespace octet::testing {

class GraphBuilder {
 public:
  GraphBuilder() : graph_(kernels::Registry()) {}

  void HoldConstantsIn(std::shared_ptr<TensorFile> file) {
    graph_.HoldConstantsIn(std::move(file));
  }

  // Unknown dimensions are symbols, the same for the same position in every input.
  graph::ValueId Input(std::string name, Shape shape, DataType border = DataType::kFloat32) {
    graph::Input input{.border_type = border};
    for (size_t d = 0; d < shape.size(); ++d) {
      input.symbols.push_back(shape[d] == kUnknownDim ? absl::StrCat("d", d) : "");
    }
    return graph_.AddInput(std::move(input), std::move(name),
                           {.dtype = ComputeType(border), .shape = std::move(shape)});
  }

  graph::ValueId Constant(std::string name, Tensor tensor) {
    return graph_.AddConstant(std::move(name), std::move(tensor));
  }

  graph::ValueId Apply(absl::string_view op, std::string name, std::vector<graph::ValueId> inputs,
                       absl::flat_hash_map<std::string, graph::Attribute> attributes = {}) {
    return graph_.Apply(op, std::move(name), std::move(inputs), std::move(attributes));
  }

  void Output(graph::ValueId value, std::string name, DataType border = DataType::kFloat32) {
    graph_.AddOutput(value, std::move(name), border);
  }

  // With all types known, and the float passes run if `optimize`.
  struct Finished {
    graph::Graph graph;
    std::vector<Shape> example_shapes;
    bool batchable = false;
  };
  Finished Finish(bool optimize = false) {
    const absl::StatusOr<graph::SymbolicTypes> types = graph::InferSymbolicTypes(graph_);
    EXPECT_TRUE(types.ok()) << types.status();
    if (optimize) {
      const auto passes = graph::RunPasses(graph_, graph::FloatPipeline());
      EXPECT_TRUE(passes.ok()) << passes.status();
    }
    return {std::move(graph_), types.ok() ? types->example_shapes : std::vector<Shape>(),
            types.ok() && types->batchable};
  }

 private:
  graph::Graph graph_;
};

}  // namespace octet::testing
