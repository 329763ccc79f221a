// GraphProto -> Graph. Internal to graph/onnx.

#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {

using Opsets = absl::flat_hash_map<std::string, int>;  // version by domain, "" for ONNX's own

class GraphBuilder {
 public:
  GraphBuilder(const OpRegistry& registry, const Opsets& opsets, const std::string& directory)
      : opsets_(opsets), directory_(directory), graph_(registry) {}

  // Takes the weights out of `proto` one by one, so that they are not in memory twice.
  absl::StatusOr<Graph> Build(onnx::GraphProto* proto);

  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  absl::Status AddInitializers(onnx::GraphProto* proto);
  absl::Status AddInputs(const onnx::GraphProto& proto);
  absl::Status AddNodes(const onnx::GraphProto& proto);
  absl::Status AddNode(const onnx::NodeProto& proto);
  absl::Status AddConstantNode(const onnx::NodeProto& proto);
  absl::Status AddOutputs(const onnx::GraphProto& proto);
  absl::StatusOr<Attribute> ReadAttribute(const onnx::AttributeProto& proto);
  absl::Status Define(const std::string& name, ValueId value);
  ValueId Named(const std::string& name);
  void WarnIfNarrowed(DataType border, absl::string_view what);

  const Opsets& opsets_;
  const std::string& directory_;
  Graph graph_;
  absl::flat_hash_map<std::string, ValueId> values_;
  std::vector<std::string> unsupported_;
  std::vector<std::string> warnings_;
};

}  // namespace octet::graph
