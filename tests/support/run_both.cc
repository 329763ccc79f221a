#include "tests/support/run_both.h"

#include <random>

#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/lowering.h"
#include "tests/support/program_executor.h"
#include "tests/support/reference_executor.h"

namespace octet::testing {

Tensor RandomTensor(const graph::TensorType& type, uint32_t seed) {
  std::mt19937 random(seed);
  Tensor tensor = *Tensor::Allocate(type.dtype, type.shape);
  VisitType(type.dtype, [&]<typename T>() {
    std::uniform_real_distribution<float> uniform(-2, 2);
    for (T& value : tensor.MutableAs<T>()) {
      if constexpr (std::is_same_v<T, float>)
        value = uniform(random);
      else
        value = static_cast<T>(random());
    }
  });
  return tensor;
}

graph::ValueId FixedInput(graph::Graph& graph, std::string name, graph::TensorType type) {
  std::vector<std::string> fixed(type.shape.size());
  return graph.AddInput({.symbols = std::move(fixed)}, std::move(name), std::move(type));
}

BothResults RunBoth(const graph::Graph& graph, absl::string_view op) {
  std::vector<Tensor> inputs;
  std::vector<Shape> shapes;
  for (const graph::Input& input : graph.inputs()) {
    const graph::TensorType& type = graph.value(input.value).type;
    shapes.push_back(type.shape);
    inputs.push_back(RandomTensor(type, static_cast<uint32_t>(inputs.size())));
  }
  const auto concrete = graph::Specialize(graph, shapes);
  const auto expected = RunReference(graph, inputs);
  EXPECT_TRUE(concrete.ok()) << concrete.status();
  EXPECT_TRUE(expected.ok()) << expected.status();
  if (!concrete.ok() || !expected.ok()) return {};
  kernels::WeightCache weights;
  const auto program = kernels::LowerGraph(*concrete, weights);
  EXPECT_TRUE(program.ok()) << program.status();
  if (!program.ok()) return {};
  const auto actual = RunProgram(*program, inputs);
  EXPECT_TRUE(actual.ok()) << actual.status();
  if (!actual.ok()) return {};
  BothResults results{.expected = *expected, .actual = *actual};
  for (const kernels::Step& step : program->steps) {
    if (step.op == op) results.implementations.push_back(step.kernel->implementation());
  }
  return results;
}

}  // namespace octet::testing
