// GraphProto -> Graph. Internal to graph/onnx.

#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/onnx/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {

using Opsets = absl::flat_hash_map<std::string, int>;  // version by domain, "" for ONNX's own

class GraphBuilder {
 public:
  GraphBuilder(const OpRegistry& registry, const Opsets& opsets, const ExternalData& external)
      : opsets_(opsets), external_(external), graph_(registry) {}

  // Takes the weights out of `proto` one by one, so that they are not in memory twice.
  absl::StatusOr<Graph> Build(onnx::GraphProto* proto);

  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  absl::Status AddInitializers(onnx::GraphProto* proto);
  absl::Status AddInputs(const onnx::GraphProto& proto);
  absl::Status AddNodes(const onnx::GraphProto& proto);
  absl::Status AddNodeList(const onnx::GraphProto& proto);
  absl::Status CheckReads() const;
  absl::Status AddNode(const onnx::NodeProto& proto);
  // The values of a node's outputs, none of which has a producer.
  absl::StatusOr<std::vector<ValueId>> OutputsOf(const onnx::NodeProto& proto);
  absl::Status AddConstantNode(const onnx::NodeProto& proto);
  absl::Status AddOutputs(const onnx::GraphProto& proto);
  // In branch.cc. The branch that a condition known by now chooses becomes part of the graph around
  // the If. Unimplemented if the condition is not known.
  absl::Status AddIf(const onnx::NodeProto& proto);
  absl::StatusOr<bool> EvaluateCondition(ValueId condition);
  absl::StatusOr<bool> FoldInto(ValueId value);
  absl::Status AddBranch(const onnx::GraphProto& branch, const std::string& prefix,
                         const std::vector<ValueId>& outputs);
  absl::Status NameBranchValues(const onnx::GraphProto& branch, const std::string& prefix,
                                const std::vector<ValueId>& outputs);
  absl::Status AddBranchInitializers(const onnx::GraphProto& branch);
  absl::Status AddBranchOutputs(const onnx::GraphProto& branch, const std::string& prefix,
                                const std::vector<ValueId>& outputs);
  absl::StatusOr<Attribute> ReadAttribute(const onnx::AttributeProto& proto);
  absl::Status Define(const std::string& name, ValueId value);
  // The value that a name means in the innermost branch; a new value of the graph itself if
  // nothing of that name was seen yet.
  ValueId Named(const std::string& name);
  void WarnIfNarrowed(DataType border, absl::string_view what);

  const Opsets& opsets_;
  const ExternalData& external_;
  Graph graph_;
  using Names = absl::flat_hash_map<std::string, ValueId>;
  Names values_;
  std::vector<Names> branches_;  // names of the branches being added, the innermost last
  int branch_count_ = 0;
  size_t first_computed_ = 0;  // values before it are the graph's inputs and weights
  std::vector<std::string> unsupported_;
  std::vector<std::string> warnings_;
};

}  // namespace octet::graph
