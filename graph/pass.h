// Rewrites of the graph, and the runner that checks after each one.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace octet::graph {

// A rewrite that keeps the function the graph computes. Returns how many places it changed.
struct Pass {
  absl::string_view name;
  absl::StatusOr<int> (*run)(Graph& graph);
};

struct PassReport {
  std::string name;
  int rewrites = 0;
  double seconds = 0;
};

// Runs the passes in order. After each one that changed something the graph is verified, dead
// nodes are removed and types are inferred again; errors name the pass.
absl::StatusOr<std::vector<PassReport>> RunPasses(Graph& graph, std::span<const Pass> passes);

// The passes without which some operators cannot run at all, in no way: the first of
// FloatPipeline().
std::span<const Pass> ExpansionPipeline();

// The float passes, in the order in which they must run: see passes/pipeline.cc for the reasons.
std::span<const Pass> FloatPipeline();

}  // namespace octet::graph
