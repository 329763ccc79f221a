// The intermediate representation: a directed acyclic graph in single-assignment form.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "base/tensor_file.h"
#include "graph/node.h"
#include "graph/op_schema.h"
#include "graph/types.h"

namespace octet::graph {

struct Value {
  std::string name;
  // Set for inputs and constants; for the rest after InferSymbolicTypes() or Specialize(). A
  // dimension that differs between requests is kUnknownDim. A constant's `type.quant` says what
  // its codes stand for.
  TensorType type;
  std::optional<NodeId> producer;  // none for inputs and constants
  std::vector<NodeId> consumers;   // a node that reads the value twice is in here twice
  std::optional<Tensor> constant;
};

// A graph input as the model file declares it.
struct Input {
  ValueId value{};
  DataType border_type = DataType::kFloat32;  // the file's own element type
  // For each dimension the name of its symbol, or "" where it is fixed. Dimensions with the same
  // symbol are equal in every request.
  std::vector<std::string> symbols;
};

struct Output {
  ValueId value{};
  std::string name;
  DataType border_type = DataType::kFloat32;
};

// Value semantics; copies share the constants' bytes. Not thread-safe.
class Graph {
 public:
  explicit Graph(const OpRegistry& registry) : registry_(&registry) {}

  const OpRegistry& registry() const { return *registry_; }

  // From now on large constants go to `file`, also of copies of this graph: they are in memory only
  // while somebody reads them. Null: they are kept in memory.
  void HoldConstantsIn(std::shared_ptr<TensorFile> file) { tensor_file_ = std::move(file); }
  const std::shared_ptr<TensorFile>& tensor_file() const { return tensor_file_; }
  // A tensor as it is kept as a constant of this graph.
  Tensor Hold(Tensor tensor) const;
  // Tensor::DropPages() of all constants.
  void DropPages() const;

  ValueId AddInput(Input input, std::string name, TensorType type);
  void AddOutput(ValueId value, std::string name, DataType border_type);
  ValueId AddConstant(std::string name, Tensor tensor,
                      std::optional<QuantParams> quant = std::nullopt);
  // A value without a producer yet: AddNode() or SetOutputs() gives it one.
  ValueId AddValue(std::string name, TensorType type = {});

  // Appends a node; its outputs must have no producer yet. Names are made unique. Without a schema
  // the newest meaning of node.op is taken, which must exist.
  NodeId AddNode(Node node);
  // A node of one new output value, returned.
  ValueId Apply(absl::string_view op, std::string name, std::vector<ValueId> inputs,
                absl::flat_hash_map<std::string, Attribute> attributes = {},
                TensorType output_type = {});

  bool IsLive(NodeId id) const { return nodes_[static_cast<size_t>(id)].has_value(); }
  const Node& node(NodeId id) const { return *nodes_[static_cast<size_t>(id)]; }
  // For attributes and fused operators. Inputs and outputs change through the functions below,
  // which keep the values' consumers right.
  Node& mutable_node(NodeId id) { return *nodes_[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  TensorType& mutable_type(ValueId id) { return values_[static_cast<size_t>(id)].type; }

  const std::vector<Input>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  size_t value_count() const { return values_.size(); }

  // Live nodes, producers before consumers. InvalidArgument names the nodes of a cycle.
  absl::StatusOr<std::vector<NodeId>> TopologicalOrder() const;
  // Live nodes in the order they were added.
  std::vector<NodeId> Nodes() const;
  std::vector<NodeId> NodesOfType(absl::string_view op) const;

  bool IsConstant(ValueId id) const { return id != kNoValue && value(id).constant.has_value(); }
  bool IsGraphOutput(ValueId id) const;
  // The one node that reads `id`, if there is exactly one and `id` is no output of the graph.
  std::optional<NodeId> OnlyConsumer(ValueId id) const;

  // Grows the input list with absent inputs where needed.
  void SetInput(NodeId id, size_t index, ValueId value);
  // Graph outputs follow too.
  void ReplaceAllUses(ValueId from, ValueId to);
  // Outputs of the graph that are `from` become `to`; nodes keep reading `from`.
  void ReplaceOutput(ValueId from, ValueId to);
  // The outputs must have no readers left.
  void RemoveNode(NodeId id);
  // `node` takes the place of `id`: its outputs, which keep their names and readers, and its name.
  NodeId ReplaceNode(NodeId id, Node node);
  // Removes nodes whose results nobody reads, then forgets the bytes of unread constants.
  // Returns how many nodes went.
  int RemoveDeadNodes();

  // `id` becomes a constant; its producer loses that output.
  void MakeConstant(ValueId id, Tensor tensor);
  // The same constant without its bytes: see Tensor::WithoutBytes().
  void ReleaseBytes(ValueId id);
  // Gives released constants the bytes of the same constants of `whole`, a graph that was made in
  // the same way; they keep their identity. FailedPrecondition if the graphs differ.
  absl::Status RestoreBytes(const Graph& whole);

  // Internal if consumers and producers do not match, a name repeats, or there is a cycle.
  absl::Status Verify() const;

 private:
  Value& MutableValue(ValueId id) { return values_[static_cast<size_t>(id)]; }
  std::string UniqueNodeName(const std::string& wanted) const;

  const OpRegistry* registry_;
  std::shared_ptr<TensorFile> tensor_file_;
  std::vector<std::optional<Node>> nodes_;  // none where a node was removed
  absl::flat_hash_set<std::string> node_names_;
  std::vector<Value> values_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
};

// One line per node in topological order, for tests, dumps and `octet inspect`.
std::string ToText(const Graph& graph);

}  // namespace octet::graph
