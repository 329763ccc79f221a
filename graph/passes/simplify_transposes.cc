// Transposes that undo each other go, also across elementwise operators: exporters of channels-last
// frameworks put a pair around every convolution. Consecutive ones become one.
//
// From a Transpose we look upwards through elementwise operators until every path ends at a
// Transpose that it undoes, or at a constant. Then all of that can be computed on the values as
// they were before, and the lower Transpose goes.

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

using Permutation = std::vector<int64_t>;

constexpr int kMaxDepth = 8;  // of elementwise operators between two Transposes

std::optional<Permutation> PermutationOf(const Graph& graph, const Node& node) {
  const size_t rank = graph.value(node.inputs[0]).type.shape.size();
  Permutation permutation = node.Ints("perm");
  if (permutation.empty()) {
    for (size_t d = rank; d-- > 0;) permutation.push_back(static_cast<int64_t>(d));
  }
  if (permutation.size() != rank) return std::nullopt;
  return permutation;
}

bool IsIdentity(const Permutation& permutation) {
  for (size_t d = 0; d < permutation.size(); ++d) {
    if (permutation[d] != static_cast<int64_t>(d)) return false;
  }
  return true;
}

// The permutation that does `first`, then `second`.
Permutation Then(const Permutation& first, const Permutation& second) {
  Permutation result;
  for (const int64_t d : second) result.push_back(first[d]);
  return result;
}

Permutation Inverse(const Permutation& permutation) {
  Permutation result(permutation.size());
  for (size_t d = 0; d < permutation.size(); ++d) result[permutation[d]] = static_cast<int64_t>(d);
  return result;
}

// Operators that compute every element from the elements at its place.
bool IsElementwise(const Node& node) {
  static constexpr auto kOps = std::to_array<absl::string_view>(
      {"Abs",  "Add",   "Cast",  "Ceil",    "Celu",        "Clip",      "Div",       "Elu",
       "Erf",  "Exp",   "Floor", "Gelu",    "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
       "Max",  "Min",   "Mish",  "Mul",     "Neg",         "Not",       "Pow",       "Reciprocal",
       "Relu", "Round", "Selu",  "Sigmoid", "Sign",        "Softplus",  "Softsign",  "Sqrt",
       "Sub",  "Sum",   "Swish", "Tanh"});
  return std::find(kOps.begin(), kOps.end(), node.op) != kOps.end() && node.fused.empty() &&
         node.outputs.size() == 1;
}

// Values as they are before the Transposes by one permutation.
class Undoing {
 public:
  Undoing(Graph& graph, Permutation permutation)
      : graph_(graph), permutation_(std::move(permutation)) {}

  // Whether `value` is made from such Transposes and constants by elementwise operators alone, read
  // by nobody else.
  bool Can(ValueId value, int depth) const {
    if (value == kNoValue || ScalarOf(graph_, value)) return true;
    if (graph_.IsConstant(value)) return IsSmallEnough(value);
    if (IsTransposed(value)) return true;
    if (depth == 0 || !graph_.value(value).producer || !graph_.OnlyConsumer(value)) return false;
    if (graph_.value(value).type.shape.size() != permutation_.size()) return false;
    const Node& node = graph_.node(*graph_.value(value).producer);
    if (!IsElementwise(node)) return false;
    bool transposed = false;  // constants alone say nothing
    for (const ValueId input : node.inputs) {
      if (!Can(input, depth - 1)) return false;
      transposed |= input != kNoValue && !graph_.IsConstant(input);
    }
    return transposed;
  }

  // What Can() has accepted, before the permutation. Changes the nodes on the way.
  ValueId Undo(ValueId value) {
    if (value == kNoValue || ScalarOf(graph_, value)) return value;
    if (graph_.IsConstant(value)) return UndoConstant(value);
    const NodeId id = *graph_.value(value).producer;
    if (IsTransposed(value)) return graph_.node(id).inputs[0];
    for (size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
      const ValueId input = graph_.node(id).inputs[i];
      graph_.SetInput(id, i, Undo(input));
    }
    TensorType& type = graph_.mutable_type(value);
    const Shape before = type.shape;
    for (size_t d = 0; d < before.size(); ++d) type.shape[permutation_[d]] = before[d];
    return value;
  }

 private:
  bool IsTransposed(ValueId value) const {
    const Node* node = MadeBy(graph_, value, "Transpose");
    return node != nullptr && PermutationOf(graph_, *node) == permutation_;
  }

  bool IsSmallEnough(ValueId constant) const {
    const Value& value = graph_.value(constant);
    return !value.type.quant && value.type.shape.size() <= permutation_.size() &&
           value.constant->has_bytes();
  }

  // With the dimensions in front that broadcasting would add, so that they can be permuted.
  ValueId UndoConstant(ValueId constant) {
    const Value& value = graph_.value(constant);
    Shape shape(permutation_.size() - value.type.shape.size(), 1);
    shape.insert(shape.end(), value.type.shape.begin(), value.type.shape.end());
    const Tensor tensor = value.constant->Reshaped(shape);
    const std::string name = value.name;
    const Permutation inverse = Inverse(permutation_);
    Shape permuted;
    for (const int64_t d : inverse) permuted.push_back(shape[d]);
    TensorType type{.dtype = tensor.dtype(), .shape = permuted};
    return graph_.Apply("Transpose", absl::StrCat(name, ".permuted"),
                        {graph_.AddConstant(absl::StrCat(name, ".whole"), tensor)},
                        {{"perm", inverse}}, std::move(type));
  }

  Graph& graph_;
  const Permutation permutation_;
};

// Two in a row become one.
bool MergeWithPrevious(Graph& graph, NodeId id, const Permutation& permutation) {
  const Node* previous = MadeBy(graph, graph.node(id).inputs[0], "Transpose");
  const auto first = previous == nullptr ? std::nullopt : PermutationOf(graph, *previous);
  if (!first || first->size() != permutation.size()) return false;
  graph.mutable_node(id).attributes.insert_or_assign("perm", Then(*first, permutation));
  graph.SetInput(id, 0, previous->inputs[0]);
  return true;
}

bool SimplifyOne(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const std::optional<Permutation> permutation = PermutationOf(graph, node);
  if (!permutation || !node.fused.empty() || graph.IsConstant(node.inputs[0])) return false;
  const ValueId result = node.outputs[0], input = node.inputs[0];
  if (result == kNoValue) return false;
  if (IsIdentity(*permutation)) {
    graph.ReplaceAllUses(result, input);
    graph.RemoveNode(id);
    return true;
  }
  if (MergeWithPrevious(graph, id, *permutation)) return true;
  Undoing undoing(graph, Inverse(*permutation));
  if (!undoing.Can(input, kMaxDepth)) return false;
  graph.ReplaceAllUses(result, undoing.Undo(input));
  graph.RemoveNode(id);
  return true;
}

}  // namespace

absl::StatusOr<int> SimplifyTransposes(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    while (graph.IsLive(id) && graph.node(id).op == "Transpose" && SimplifyOne(graph, id)) {
      ++rewrites;
    }
  }
  return rewrites;
}

}  // namespace octet::graph
