#include "graph/pass.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"

namespace octet::graph {

absl::StatusOr<std::vector<PassReport>> RunPasses(Graph& graph, std::span<const Pass> passes) {
  std::vector<PassReport> reports;
  for (const Pass& pass : passes) {
    const auto start = std::chrono::steady_clock::now();
    const absl::StatusOr<int> rewrites = pass.run(graph);
    absl::Status status = rewrites.status();
    if (status.ok() && *rewrites > 0) {
      graph.RemoveDeadNodes();
      status = graph.Verify();
      if (status.ok()) status = InferSymbolicTypes(graph).status();
    }
    if (!status.ok()) return Annotate(status, absl::StrCat("pass ", pass.name));
    graph.DropPages();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    reports.push_back({std::string(pass.name), *rewrites, elapsed.count()});
  }
  return reports;
}

}  // namespace octet::graph
