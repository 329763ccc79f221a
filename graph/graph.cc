#include "graph/graph.h"

#include <algorithm>
#include <deque>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace octet::graph {

ValueId Graph::AddValue(std::string name, TensorType type) {
  values_.push_back({.name = std::move(name), .type = std::move(type)});
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::AddInput(Input input, std::string name, TensorType type) {
  input.value = AddValue(std::move(name), std::move(type));
  inputs_.push_back(std::move(input));
  return inputs_.back().value;
}

void Graph::AddOutput(ValueId value, std::string name, DataType border_type) {
  outputs_.push_back({.value = value, .name = std::move(name), .border_type = border_type});
}

ValueId Graph::AddConstant(std::string name, Tensor tensor, std::optional<QuantParams> quant) {
  const ValueId id =
      AddValue(std::move(name),
               {.dtype = tensor.dtype(), .shape = tensor.shape(), .quant = std::move(quant)});
  MutableValue(id).constant = Hold(std::move(tensor));
  return id;
}

Tensor Graph::Hold(Tensor tensor) const {
  return tensor_file_ == nullptr ? std::move(tensor) : tensor_file_->Hold(tensor);
}

void Graph::DropPages() const {
  for (const Value& value : values_) {
    if (value.constant) value.constant->DropPages();
  }
}

std::string Graph::UniqueNodeName(const std::string& wanted) const {
  if (!wanted.empty() && !node_names_.contains(wanted)) return wanted;
  for (size_t i = nodes_.size();; ++i) {
    std::string name = absl::StrCat(wanted, "#", i);
    if (!node_names_.contains(name)) return name;
  }
}

NodeId Graph::AddNode(Node node) {
  node.name = UniqueNodeName(node.name);
  node_names_.insert(node.name);
  if (node.schema == nullptr) node.schema = registry_->FindNewest(node.op);
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const ValueId input : node.inputs) {
    if (input != kNoValue) MutableValue(input).consumers.push_back(id);
  }
  for (const ValueId output : node.outputs) {
    if (output != kNoValue) MutableValue(output).producer = id;
  }
  nodes_.push_back(std::move(node));
  return id;
}

ValueId Graph::Apply(absl::string_view op, std::string name, std::vector<ValueId> inputs,
                     absl::flat_hash_map<std::string, Attribute> attributes,
                     TensorType output_type) {
  const ValueId output = AddValue(absl::StrCat(name, ".out"), std::move(output_type));
  AddNode({.op = std::string(op),
           .name = std::move(name),
           .inputs = std::move(inputs),
           .outputs = {output},
           .attributes = std::move(attributes)});
  return output;
}

std::vector<NodeId> Graph::Nodes() const {
  std::vector<NodeId> ids;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]) ids.push_back(static_cast<NodeId>(i));
  }
  return ids;
}

std::vector<NodeId> Graph::NodesOfType(absl::string_view op) const {
  std::vector<NodeId> ids = Nodes();
  std::erase_if(ids, [&](NodeId id) { return node(id).op != op; });
  return ids;
}

namespace {

absl::Status CycleError(const Graph& graph, const std::vector<int>& missing) {
  std::vector<std::string> stuck;
  for (const NodeId id : graph.Nodes()) {
    if (missing[static_cast<size_t>(id)] == 0) continue;
    stuck.push_back(graph.node(id).name);
    if (stuck.size() == 5) break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the graph has a cycle through or before: ", absl::StrJoin(stuck, ", ")));
}

}  // namespace

absl::StatusOr<std::vector<NodeId>> Graph::TopologicalOrder() const {
  std::vector<int> missing(nodes_.size(), 0);  // inputs whose producer has not been placed
  std::deque<NodeId> ready;
  const std::vector<NodeId> live = Nodes();
  for (const NodeId id : live) {
    for (const ValueId input : node(id).inputs) {
      if (input != kNoValue && value(input).producer) ++missing[static_cast<size_t>(id)];
    }
    if (missing[static_cast<size_t>(id)] == 0) ready.push_back(id);
  }
  std::vector<NodeId> order;
  order.reserve(live.size());
  while (!ready.empty()) {
    const NodeId id = ready.front();
    ready.pop_front();
    order.push_back(id);
    for (const ValueId output : node(id).outputs) {
      if (output == kNoValue) continue;
      for (const NodeId consumer : value(output).consumers) {
        if (--missing[static_cast<size_t>(consumer)] == 0) ready.push_back(consumer);
      }
    }
  }
  if (order.size() == live.size()) return order;
  return CycleError(*this, missing);
}

bool Graph::IsGraphOutput(ValueId id) const {
  return std::any_of(outputs_.begin(), outputs_.end(),
                     [id](const Output& output) { return output.value == id; });
}

std::optional<NodeId> Graph::OnlyConsumer(ValueId id) const {
  if (id == kNoValue || value(id).consumers.size() != 1 || IsGraphOutput(id)) return std::nullopt;
  return value(id).consumers.front();
}

namespace {

void EraseOne(std::vector<NodeId>& ids, NodeId id) {
  const auto it = std::find(ids.begin(), ids.end(), id);
  if (it != ids.end()) ids.erase(it);
}

}  // namespace

void Graph::SetInput(NodeId id, size_t index, ValueId value) {
  std::vector<ValueId>& inputs = mutable_node(id).inputs;
  if (index >= inputs.size()) inputs.resize(index + 1, kNoValue);
  if (inputs[index] != kNoValue) EraseOne(MutableValue(inputs[index]).consumers, id);
  inputs[index] = value;
  if (value != kNoValue) MutableValue(value).consumers.push_back(id);
}

void Graph::ReplaceAllUses(ValueId from, ValueId to) {
  const std::vector<NodeId> consumers = value(from).consumers;
  for (const NodeId consumer : consumers) {
    std::vector<ValueId>& inputs = mutable_node(consumer).inputs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == from) SetInput(consumer, i, to);
    }
  }
  ReplaceOutput(from, to);
}

void Graph::ReplaceOutput(ValueId from, ValueId to) {
  for (Output& output : outputs_) {
    if (output.value == from) output.value = to;
  }
}

void Graph::RemoveNode(NodeId id) {
  const Node removed = node(id);
  for (const ValueId input : removed.inputs) {
    if (input != kNoValue) EraseOne(MutableValue(input).consumers, id);
  }
  for (const ValueId output : removed.outputs) {
    if (output != kNoValue) MutableValue(output).producer.reset();
  }
  node_names_.erase(removed.name);
  nodes_[static_cast<size_t>(id)].reset();
}

NodeId Graph::ReplaceNode(NodeId id, Node replacement) {
  replacement.name = node(id).name;
  replacement.outputs = node(id).outputs;
  RemoveNode(id);
  return AddNode(std::move(replacement));
}

int Graph::RemoveDeadNodes() {
  const auto unread = [this](ValueId id) {
    return id == kNoValue || (value(id).consumers.empty() && !IsGraphOutput(id));
  };
  int removed = 0;
  for (bool changed = true; changed;) {
    changed = false;
    const std::vector<NodeId> ids = Nodes();
    for (auto it = ids.rbegin(); it != ids.rend(); ++it) {
      const std::vector<ValueId>& outputs = node(*it).outputs;
      if (!std::all_of(outputs.begin(), outputs.end(), unread)) continue;
      RemoveNode(*it);
      ++removed;
      changed = true;
    }
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].constant && unread(static_cast<ValueId>(i))) values_[i].constant.reset();
  }
  return removed;
}

void Graph::MakeConstant(ValueId id, Tensor tensor) {
  Value& changed = MutableValue(id);
  if (changed.producer) {
    for (ValueId& output : mutable_node(*changed.producer).outputs) {
      if (output == id) output = kNoValue;
    }
    changed.producer.reset();
  }
  changed.type = {.dtype = tensor.dtype(), .shape = tensor.shape()};
  changed.constant = Hold(std::move(tensor));
}

void Graph::ReleaseBytes(ValueId id) {
  Value& changed = MutableValue(id);
  if (changed.constant) changed.constant = changed.constant->WithoutBytes();
}

absl::Status Graph::RestoreBytes(const Graph& whole) {
  for (size_t i = 0; i < values_.size(); ++i) {
    if (!values_[i].constant || values_[i].constant->has_bytes()) continue;
    const bool same = i < whole.values_.size() && whole.values_[i].name == values_[i].name &&
                      whole.values_[i].type == values_[i].type && whole.values_[i].constant;
    if (!same) {
      return absl::FailedPreconditionError(absl::StrCat(
          "constant ", values_[i].name, " is not what it was when the model was loaded"));
    }
    values_[i].constant = values_[i].constant->WithBytesOf(*whole.values_[i].constant);
  }
  return absl::OkStatus();
}

absl::Status Graph::Verify() const {
  absl::flat_hash_set<absl::string_view> names;
  std::vector<std::vector<NodeId>> readers(values_.size());
  for (const NodeId id : Nodes()) {
    const Node& checked = node(id);
    if (!names.insert(checked.name).second) {
      return absl::InternalError(absl::StrCat("two nodes are called ", checked.name));
    }
    if (checked.schema == nullptr) {
      return absl::InternalError(absl::StrCat("node ", checked.name, " has no meaning"));
    }
    for (const ValueId input : checked.inputs) {
      if (input != kNoValue) readers[static_cast<size_t>(input)].push_back(id);
    }
    for (const ValueId output : checked.outputs) {
      if (output != kNoValue && value(output).producer != id) {
        return absl::InternalError(absl::StrCat("value ", value(output).name,
                                                " does not know its producer ", checked.name));
      }
    }
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    std::vector<NodeId> recorded = values_[i].consumers;
    std::sort(recorded.begin(), recorded.end());
    std::sort(readers[i].begin(), readers[i].end());
    if (recorded != readers[i]) {
      return absl::InternalError(
          absl::StrCat("value ", values_[i].name, " does not know its consumers"));
    }
  }
  return TopologicalOrder().status();
}

std::string ToText(const Graph& graph) {
  const auto name = [&](ValueId id) {
    return id == kNoValue ? std::string("-") : absl::StrCat("%", graph.value(id).name);
  };
  const auto names = [&](const std::vector<ValueId>& ids) {
    return absl::StrJoin(ids, ", ",
                         [&](std::string* out, ValueId id) { absl::StrAppend(out, name(id)); });
  };
  std::string text;
  const auto order = graph.TopologicalOrder();
  if (!order.ok()) return std::string(order.status().message());
  for (const NodeId id : *order) {
    const Node& node = graph.node(id);
    absl::StrAppend(&text, names(node.outputs), " = ", node.op, "(", names(node.inputs), ")");
    for (const FusedOp& fused : node.fused) absl::StrAppend(&text, " + ", fused.op);
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "return ",
                  absl::StrJoin(graph.outputs(), ", ",
                                [&](std::string* out, const Output& output) {
                                  absl::StrAppend(out, name(output.value));
                                }),
                  "\n");
  return text;
}

}  // namespace octet::graph
