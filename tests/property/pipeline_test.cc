// The whole pipeline on random graphs: the function stays, computed by the reference functions and
// by the kernels.

#include <map>
#include <string>

#include "graph/infer.h"
#include "graph/pass.h"
#include "gtest/gtest.h"
#include "kernels/lowering.h"
#include "kernels/weight_cache.h"
#include "tests/property/random_graph.h"
#include "tests/support/compare.h"
#include "tests/support/graph_maker.h"
#include "tests/support/program_executor.h"
#include "tests/support/reference_executor.h"

namespace octet::graph {
namespace {

constexpr uint64_t kGraphs = 300;

TEST(FloatPipeline, KeepsTheFunctionOfRandomGraphs) {
  std::map<std::string, int> rewrites;
  for (uint64_t seed = 0; seed < kGraphs; ++seed) {
    Graph graph = testing::RandomGraph(seed);
    Graph again = graph;
    testing::ExpectSameFunction(graph, FloatPipeline(), seed);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
    const auto reports = RunPasses(again, FloatPipeline());
    ASSERT_TRUE(reports.ok()) << reports.status();
    for (const PassReport& report : *reports) rewrites[report.name] += report.rewrites;
    // A model that is loaded again must come out the same.
    EXPECT_EQ(ToText(graph), ToText(again));
  }
  // For operators that are none of ONNX's, and for models that carry their own quantizers, which
  // tests/conformance runs.
  for (const char* name : {"expand_fusions", "expand_integer_products", "read_quantized_weights",
                           "absorb_quantization"}) {
    rewrites.erase(name);
  }
  for (const auto& [name, count] : rewrites) {
    RecordProperty(name, count);
    EXPECT_GT(count, 0) << "the random graphs never show what " << name << " is for";
  }
}

TEST(FloatPipeline, LeavesWhatTheKernelsCanRun) {
  for (uint64_t seed = kGraphs; seed < kGraphs + 60; ++seed) {
    Graph graph = testing::RandomGraph(seed);
    testing::RandomNumbers random(seed);
    const std::vector<Tensor> inputs = testing::RandomInputs(graph, random, 3);
    const auto expected = testing::RunReference(graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status();
    ASSERT_TRUE(RunPasses(graph, FloatPipeline()).ok());
    const std::vector<Shape> shapes = {inputs[0].shape(), inputs[1].shape()};
    const auto concrete = Specialize(graph, shapes);
    ASSERT_TRUE(concrete.ok()) << concrete.status();
    kernels::WeightCache weights;
    const auto program = kernels::LowerGraph(*concrete, weights);
    ASSERT_TRUE(program.ok()) << program.status() << "\n" << ToText(*concrete);
    const auto actual = testing::RunProgram(*program, inputs);
    ASSERT_TRUE(actual.ok()) << actual.status();
    for (size_t i = 0; i < expected->size(); ++i) {
      EXPECT_EQ(testing::Difference((*actual)[i], (*expected)[i], DataType::kFloat32,
                                    {.relative = 1e-3, .absolute = 1e-3}),
                "")
          << "seed " << seed << ", output " << i << "\n"
          << ToText(*concrete);
    }
  }
}

}  // namespace
}  // namespace octet::graph
