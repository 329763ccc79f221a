// pass_report MODEL [--compare]: what the float passes make of a model, as one JSON object.
//
// Operators are counted before and after, with what is fused into them ("MatMul+Gelu"). With
// --compare the model runs before and after on random inputs, and the largest difference of each
// output is reported, relative to the output's largest value.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/infer.h"
#include "graph/onnx/import.h"
#include "graph/pass.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/weight_cache.h"
#include "tests/support/program_executor.h"
#include "tests/support/random_numbers.h"

namespace octet::testing {
namespace {

using graph::Graph;

std::string Quoted(const std::string& text) { return absl::StrCat("\"", text, "\""); }

template <typename Map>
std::string Object(const Map& entries) {
  return absl::StrCat("{",
                      absl::StrJoin(entries, ", ",
                                    [](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, Quoted(entry.first), ": ", entry.second);
                                    }),
                      "}");
}

std::string Operators(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const graph::NodeId id : graph.Nodes()) {
    std::string name = graph.node(id).op;
    for (const graph::FusedOp& fused : graph.node(id).fused) absl::StrAppend(&name, "+", fused.op);
    ++counts[name];
  }
  return Object(counts);
}

// Small integers: they are indices and masks.
std::vector<Tensor> RandomInputs(const Graph& graph, const std::vector<Shape>& shapes) {
  RandomNumbers random(1);
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const DataType type = graph.value(graph.inputs()[i].value).type.dtype;
    inputs.push_back(*Tensor::Allocate(type, shapes[i]));
    VisitType(type, [&]<typename T>() {
      for (T& value : inputs.back().MutableAs<T>()) {
        value = std::is_floating_point_v<T> ? static_cast<T>(random.Between(-2, 2))
                                            : static_cast<T>(random.Below(2));
      }
    });
  }
  return inputs;
}

absl::StatusOr<std::vector<Tensor>> Run(const Graph& graph, const std::vector<Tensor>& inputs) {
  std::vector<Shape> shapes;
  shapes.reserve(inputs.size());
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const Graph concrete, graph::Specialize(graph, shapes));
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const kernels::Program program, kernels::LowerGraph(concrete, weights));
  return RunProgram(program, inputs);
}

std::string Difference(const Tensor& before, const Tensor& after) {
  if (before.shape() != after.shape() || before.dtype() != DataType::kFloat32) return "null";
  double largest = 0, difference = 0;
  for (size_t i = 0; i < before.As<float>().size(); ++i) {
    const double a = before.As<float>()[i], b = after.As<float>()[i];
    if (!std::isfinite(a) || !std::isfinite(b)) return "null";
    largest = std::max(largest, std::abs(a));
    difference = std::max(difference, std::abs(a - b));
  }
  return absl::StrCat(difference / std::max(largest, 1e-30));
}

absl::Status Report(const std::string& path, bool compare) {
  OCTET_ASSIGN_OR_RETURN(graph::ImportedModel model,
                         graph::ImportOnnxFile(path, kernels::Registry()));
  const Graph before = model.graph;
  OCTET_ASSIGN_OR_RETURN(const std::vector<graph::PassReport> reports,
                         graph::RunPasses(model.graph, graph::FloatPipeline()));
  std::vector<std::pair<std::string, std::string>> passes;
  passes.reserve(reports.size());
  for (const graph::PassReport& report : reports) {
    passes.emplace_back(report.name, absl::StrCat(report.rewrites));
  }
  // Without the arithmetic on shapes, which is gone when a plan is made.
  OCTET_ASSIGN_OR_RETURN(const Graph plan, graph::Specialize(model.graph, model.example_shapes));
  std::vector<std::pair<std::string, std::string>> fields = {
      {"nodes_before", absl::StrCat(before.Nodes().size())},
      {"nodes_after", absl::StrCat(model.graph.Nodes().size())},
      {"nodes_in_plan", absl::StrCat(plan.Nodes().size())},
      {"rewrites", Object(passes)},
      {"before", Operators(before)},
      {"plan", Operators(plan)}};
  if (compare) {
    const std::vector<Tensor> inputs = RandomInputs(before, model.example_shapes);
    OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> expected, Run(before, inputs));
    OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> actual, Run(model.graph, inputs));
    std::vector<std::string> differences;
    differences.reserve(expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      differences.push_back(Difference(expected[i], actual[i]));
    }
    fields.emplace_back("differences", absl::StrCat("[", absl::StrJoin(differences, ", "), "]"));
  }
  std::printf("%s\n", Object(fields).c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace octet::testing

int main(int argc, char** argv) {
  const bool compare = argc == 3 && std::string(argv[2]) == "--compare";
  if (argc != 2 && !compare) {
    std::fprintf(stderr, "usage: pass_report MODEL [--compare]\n");
    return 2;
  }
  const absl::Status status = octet::testing::Report(argv[1], compare);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}
