// Runs ONNX's backend cases: by the reference functions, and as a lowered plan.
//
// usage: onnx_cases CASES_FOLDER SKIP_LIST [CASE_PATTERN]
//
// Prints a line for every failure and a summary for every suite. Exits with 1 if a case fails that
// is not in the skip list, or one in the list passes.

#include <fnmatch.h>

#include <exception>
#include <iostream>
#include <map>
#include <optional>
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
#include "tests/conformance/case_index.h"
#include "tests/support/program_executor.h"
#include "tests/support/reference_executor.h"

namespace octet::conformance {
namespace {

struct SuiteResult {
  int run = 0;
  int passed = 0;
  int expanded = 0;  // of those passed: functions spelled out in simpler operators
  int failed = 0;
  int stale = 0;
  std::map<std::string, int> skipped;  // by reason
  // Multiply-accumulates of the plans, and how many of them were done in int8.
  int64_t macs = 0;
  int64_t int8_macs = 0;
};

bool Matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

// The first operator of the case that Octet does not claim, in any version.
std::optional<std::string> UnclaimedOperator(const Case& test) {
  for (const std::string& op : test.operators) {
    if (op != "Constant" && op != "If" && kernels::Registry().FindNewest(op) == nullptr) return op;
  }
  return std::nullopt;
}

absl::Status Compare(const Case& test, const graph::Graph& graph, const std::vector<Tensor>& actual,
                     const std::vector<Tensor>& expected) {
  if (actual.size() != expected.size()) {
    return absl::InternalError(
        absl::StrCat("has ", actual.size(), " outputs, expected ", expected.size()));
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    const graph::Output& output = graph.outputs()[i];
    if (Name(output.border_type) != test.output_types[i]) {
      return absl::InternalError(absl::StrCat("output ", output.name, " is ",
                                              Name(output.border_type), ", expected ",
                                              test.output_types[i]));
    }
    const std::string difference =
        testing::Difference(actual[i], expected[i], output.border_type, test.tolerance);
    if (!difference.empty()) {
      return absl::InternalError(absl::StrCat("output ", output.name, " ", difference));
    }
  }
  return absl::OkStatus();
}

absl::Status RunByReference(const Case& test, graph::Graph graph, const DataSet& data) {
  OCTET_RETURN_IF_ERROR(graph::RunPasses(graph, graph::ExpansionPipeline()).status());
  OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs,
                         testing::RunReference(graph, data.inputs));
  return Compare(test, graph, outputs, data.expected);
}

absl::Status RunAsPlan(const Case& test, graph::Graph graph, const DataSet& data,
                       SuiteResult& result) {
  OCTET_RETURN_IF_ERROR(graph::RunPasses(graph, graph::FloatPipeline()).status());
  std::vector<Shape> shapes;
  shapes.reserve(data.inputs.size());
  for (const Tensor& input : data.inputs) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const graph::Graph concrete, graph::Specialize(graph, shapes));
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const kernels::Program program, kernels::LowerGraph(concrete, weights));
  for (const kernels::Step& step : program.steps) {
    result.macs += step.macs;
    if (step.int8) result.int8_macs += step.macs;
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs,
                         testing::RunProgram(program, data.inputs));
  return Compare(test, concrete, outputs, data.expected);
}

absl::Status RunCase(const Case& test, SuiteResult& result) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<DataSet> sets, ReadDataSets(test));
  OCTET_ASSIGN_OR_RETURN(const graph::ImportedModel model,
                         graph::ImportOnnxFile(test.folder + "/model.onnx", kernels::Registry()));
  for (const DataSet& data : sets) {
    OCTET_RETURN_IF_ERROR(Annotate(RunByReference(test, model.graph, data), "reference"));
    OCTET_RETURN_IF_ERROR(Annotate(RunAsPlan(test, model.graph, data, result), "plan"));
  }
  return absl::OkStatus();
}

absl::Status RunGuarded(const Case& test, SuiteResult& result) {
  try {
    return RunCase(test, result);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("an exception escaped: ", error.what()));
  }
}

const Skip* FindSkip(const std::vector<Skip>& skips, const std::string& name) {
  for (const Skip& skip : skips) {
    if (Matches(skip.pattern, name)) return &skip;
  }
  return nullptr;
}

void RunAndCount(const Case& test, const std::vector<Skip>& skips, SuiteResult& result) {
  const Skip* const skip = FindSkip(skips, test.name);
  ++result.run;
  const absl::Status status = RunGuarded(test, result);
  if (status.ok() && skip != nullptr) {
    ++result.stale;
    std::cout << "STALE SKIP " << test.suite << "/" << test.name << ": it passes\n";
  } else if (status.ok()) {
    ++result.passed;
    result.expanded += test.name.find("_expanded") != std::string::npos;
  } else if (skip != nullptr) {
    --result.run;
    ++result.skipped["skip list: " + skip->reason];
  } else {
    ++result.failed;
    std::cout << "FAILED " << test.suite << "/" << test.name << " ("
              << absl::StrJoin(test.operators, ", ") << "): " << status.message() << "\n";
  }
}

void Print(const std::string& suite, const SuiteResult& result) {
  int skipped = 0;
  for (const auto& [reason, count] : result.skipped) skipped += count;
  std::cout << suite << ": " << result.run << " run, " << result.passed << " passed ("
            << result.expanded << " expanded), " << result.failed << " failed, " << result.stale
            << " stale skips, " << skipped << " skipped\n";
  if (result.int8_macs > 0) {
    std::cout << "    " << result.int8_macs << " of " << result.macs
              << " multiply-accumulates in int8\n";
  }
  for (const auto& [reason, count] : result.skipped) {
    std::cout << "    " << count << " " << reason << "\n";
  }
}

absl::StatusOr<bool> RunAll(const std::string& folder, const std::string& skip_list,
                            const std::string& pattern) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<Case> cases, ReadIndex(folder));
  OCTET_ASSIGN_OR_RETURN(const std::vector<Skip> skips, ReadSkips(skip_list));
  std::map<std::string, SuiteResult> results;
  std::map<std::string, int> unclaimed;
  for (const Case& test : cases) {
    if (!Matches(pattern, test.name)) continue;
    SuiteResult& result = results[test.suite];
    if (!test.unsupported.empty()) {
      ++result.skipped["type: " + test.unsupported];
    } else if (const std::optional<std::string> op = UnclaimedOperator(test)) {
      ++result.skipped["operator not claimed"];
      ++unclaimed[*op];
    } else {
      RunAndCount(test, skips, result);
    }
  }
  bool ok = true;
  for (const auto& [suite, result] : results) {
    Print(suite, result);
    ok = ok && result.failed == 0 && result.stale == 0;
  }
  std::cout << "operators not claimed:";
  for (const auto& [op, count] : unclaimed) std::cout << " " << op << "(" << count << ")";
  std::cout << std::endl;
  return ok;
}

}  // namespace
}  // namespace octet::conformance

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: onnx_cases CASES_FOLDER SKIP_LIST [CASE_PATTERN]\n";
    return 2;
  }
  const auto ok = octet::conformance::RunAll(argv[1], argv[2], argc > 3 ? argv[3] : "*");
  if (!ok.ok()) {
    std::cerr << ok.status().message() << "\n";
    return 2;
  }
  return *ok ? 0 : 1;
}
