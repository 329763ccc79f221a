// Nodes that compute the same from the same become one, and equal small constants too: exporters
// repeat masks, shape arithmetic and even the halves of a LayerNorm.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

// Larger constants are weights: they are not repeated, and comparing them costs time.
constexpr size_t kMaxConstantBytes = 4096;

// Text that is equal for equal things and for no others: each part has its length in front.
class Key {
 public:
  void Add(absl::string_view part) { absl::StrAppend(&text_, part.size(), ":", part); }
  void Add(int64_t number) { absl::StrAppend(&text_, number, ","); }
  void Add(float number) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    Add(int64_t{bits});
  }
  void Add(const std::string& text) { Add(absl::string_view(text)); }
  void Add(const Tensor& tensor) {
    Add(static_cast<int64_t>(tensor.dtype()));
    Add(octet::ToText(tensor.shape()));
    Add(absl::string_view(reinterpret_cast<const char*>(tensor.data()), tensor.byte_size()));
  }
  template <typename T>
  void Add(const std::vector<T>& list) {
    Add(static_cast<int64_t>(list.size()));
    for (const T& element : list) Add(element);
  }
  void Add(const std::shared_ptr<const Graph>& body) {
    Add(reinterpret_cast<intptr_t>(body.get()));
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string KeyOf(const Node& node) {
  Key key;
  key.Add(reinterpret_cast<intptr_t>(node.schema));
  for (const ValueId input : node.inputs) key.Add(static_cast<int64_t>(input));
  std::vector<std::string> names;
  for (const auto& [name, value] : node.attributes) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    key.Add(name);
    const Attribute& value = node.attributes.at(name);
    key.Add(static_cast<int64_t>(value.index()));
    std::visit([&key](const auto& held) { key.Add(held); }, value);
  }
  for (const FusedOp& fused : node.fused) {
    key.Add(fused.op);
    key.Add(fused.alpha);
    key.Add(fused.beta);
    key.Add(int64_t{fused.input});
  }
  return key.Take();
}

// Draws differ although nothing they are given does.
bool IsRandom(const Node& node) {
  return node.op.starts_with("Random") || node.op == "Multinomial" || node.op == "Bernoulli" ||
         node.op == "Dropout";
}

bool HasEqualOutputs(const Node& a, const Node& b) {
  if (a.outputs.size() != b.outputs.size()) return false;
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    if ((a.outputs[i] == kNoValue) != (b.outputs[i] == kNoValue)) return false;
  }
  return true;
}

void MergeConstants(Graph& graph) {
  absl::flat_hash_map<std::string, ValueId> seen;
  const auto count = graph.value_count();
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<ValueId>(i);
    const Value& value = graph.value(id);
    if (!value.constant || value.type.quant || value.consumers.empty()) continue;
    if (!value.constant->has_bytes() || value.constant->byte_size() > kMaxConstantBytes) continue;
    if (graph.IsGraphOutput(id)) continue;
    Key key;
    key.Add(*value.constant);
    const auto [first, inserted] = seen.try_emplace(key.Take(), id);
    if (!inserted) graph.ReplaceAllUses(id, first->second);
  }
}

}  // namespace

absl::StatusOr<int> MergeCommonSubexpressions(Graph& graph) {
  MergeConstants(graph);
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  absl::flat_hash_map<std::string, NodeId> seen;
  int rewrites = 0;
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (IsRandom(node)) continue;
    const auto [first, inserted] = seen.try_emplace(KeyOf(node), id);
    if (inserted) continue;
    const std::vector<ValueId> outputs = node.outputs;
    const Node& kept = graph.node(first->second);
    const bool named = std::any_of(outputs.begin(), outputs.end(), [&](ValueId output) {
      return output != kNoValue && graph.IsGraphOutput(output);
    });
    // An output of the graph keeps its own value.
    if (named || !HasEqualOutputs(kept, node)) continue;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) graph.ReplaceAllUses(outputs[i], kept.outputs[i]);
    }
    graph.RemoveNode(id);
    ++rewrites;
  }
  return rewrites;
}

}  // namespace octet::graph
