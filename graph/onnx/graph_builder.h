// GraphProto -> Graph. Internal to graph/onnx.

#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "graph/graph.h"
#include "graph/onnx/parse_model.h"
#include "graph/onnx/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace octet::graph {

using Opsets = absl::flat_hash_map<std::string, int>;  // version by domain, "" for ONNX's own

// `opsets`, which a function has from the model around it, with what `imports` say.
absl::StatusOr<Opsets> ReadOpsets(
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports, Opsets opsets);

class GraphBuilder {
 public:
  // Large weights go to the file `weights`; null: they stay in memory.
  GraphBuilder(const OpRegistry& registry, const Opsets& opsets, const ExternalData& external,
               std::shared_ptr<TensorFile> weights)
      : opsets_(&opsets), external_(external), graph_(registry) {
    graph_.HoldConstantsIn(std::move(weights));
  }

  // Before Build(): the functions that nodes may call. `model` must live until that is done.
  absl::Status AddFunctions(const onnx::ModelProto& model);

  // Takes the weights out of `model` one by one, so that they are not in memory twice; nor are
  // those that `file`, which it was parsed from, has in memory. Null: it was not a file.
  absl::StatusOr<Graph> Build(ParsedModel& model, const MappedFile* file);

  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  absl::Status AddInitializers(ParsedModel& model, const MappedFile* file);
  absl::Status AddInputs(const onnx::GraphProto& proto);
  absl::Status AddNodes(const onnx::GraphProto& proto);
  absl::Status AddNodeList(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes);
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
  absl::Status AddIdentity(std::string name, ValueId from, ValueId to);
  // In function.cc. A node that calls a function becomes the function's body; operators that Octet
  // has of its own are not calls.
  struct LocalFunction {
    const onnx::FunctionProto* proto = nullptr;
    Opsets opsets;
    std::vector<onnx::AttributeProto> defaults;  // of attributes that a call leaves out
  };
  struct Call {
    const LocalFunction* function = nullptr;
    absl::flat_hash_map<std::string, const onnx::AttributeProto*> attributes;
  };
  using Names = absl::flat_hash_map<std::string, ValueId>;
  absl::Status AddCall(const onnx::NodeProto& proto, const LocalFunction& function);
  absl::Status AddBody(const Call& call, Names names, const std::vector<ValueId>& outputs,
                       std::string prefix);
  absl::Status AddBodyOutputs(const onnx::FunctionProto& body, const std::vector<ValueId>& outputs);
  std::string PrefixOf(const onnx::NodeProto& proto);
  // ResourceExhausted when bodies have become too much.
  absl::Status CountInlined(const onnx::NodeProto& proto);
  // The attribute, or the one of the call that it refers to; null if the call leaves that out.
  const onnx::AttributeProto* Resolve(const onnx::AttributeProto& attribute) const;
  absl::StatusOr<Attribute> ReadAttribute(const onnx::AttributeProto& proto);
  absl::Status Define(const std::string& name, ValueId value);
  // The value that a name means in the innermost branch; a new value of the graph itself if
  // nothing of that name was seen yet.
  ValueId Named(const std::string& name);
  void WarnIfNarrowed(DataType border, absl::string_view what);

  const Opsets* opsets_;  // of the model, or of the function whose body is added
  const ExternalData& external_;
  Graph graph_;
  Names values_;                 // of the model, or of the function whose body is added
  std::vector<Names> branches_;  // names of the branches being added, the innermost last
  int branch_count_ = 0;         // branches and calls so far, for names of values
  absl::flat_hash_map<std::string, LocalFunction> functions_;  // by "domain.name"
  std::vector<const Call*> calls_;  // whose bodies are being added, the innermost last
  std::string prefix_;              // of names in the innermost body
  absl::flat_hash_set<std::string> prefixes_;
  // Tensors in bodies, so that all calls share their bytes.
  absl::flat_hash_map<const onnx::TensorProto*, Tensor> shared_tensors_;
  size_t inlined_nodes_ = 0;
  size_t inlined_bytes_ = 0;
  size_t first_computed_ = 0;  // values before it are the graph's inputs and weights
  std::vector<std::string> unsupported_;
  std::vector<std::string> warnings_;
};

}  // namespace octet::graph
