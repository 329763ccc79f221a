#include "runtime/fingerprint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "graph/attribute.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;

class Hasher {
 public:
  explicit Hasher(const KnownConstants& known) : known_(known) {}

  void Add(const Graph& graph) {
    AddValues(graph);
    for (const graph::NodeId id : graph.Nodes()) Add(graph.node(id));
    for (const graph::Input& input : graph.inputs()) {
      AddNumber(input.value);
      AddNumber(input.border_type);
      AddNumber(input.symbols.size());
      for (const std::string& symbol : input.symbols) sha256_.AddPart(symbol);
    }
    for (const graph::Output& output : graph.outputs()) {
      AddNumber(output.value);
      AddNumber(output.border_type);
      sha256_.AddPart(output.name);
    }
  }

  Sha256::Digest Finish() { return sha256_.Finish(); }

 private:
  template <typename T>
  void AddNumber(const T& number) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    sha256_.Add(std::as_bytes(std::span(&number, 1)));
  }

  template <typename T>
  void AddNumbers(const T& numbers) {
    sha256_.AddPart(std::as_bytes(std::span(numbers.data(), numbers.size())));
  }

  void AddValues(const Graph& graph) {
    AddNumber(graph.value_count());
    for (size_t i = 0; i < graph.value_count(); ++i) {
      const graph::Value& value = graph.value(static_cast<ValueId>(i));
      AddNumber(value.type.dtype);
      AddNumbers(value.type.shape);
      AddNumber(value.type.quant.has_value());
      if (value.type.quant) {
        AddNumbers(value.type.quant->scales);
        AddNumbers(value.type.quant->zero_points);
        AddNumber(value.type.quant->axis.value_or(-1));
      }
      // Constants that nobody reads have lost their bytes.
      const bool read = value.constant.has_value() && value.constant->has_bytes();
      AddNumber(read);
      if (read) AddTensor(*value.constant);
    }
  }

  void AddTensor(const Tensor& tensor) {
    const auto known = known_.find(tensor.id());
    AddNumber(known != known_.end());
    if (known != known_.end()) return AddNumber(known->second);
    AddNumber(tensor.dtype());
    AddNumbers(tensor.shape());
    sha256_.AddPart(std::span(tensor.data(), tensor.byte_size()));
    tensor.DropPages();
  }

  void Add(const graph::Node& node) {
    sha256_.AddPart(node.op);
    sha256_.AddPart(node.name);
    AddNumbers(node.inputs);
    AddNumbers(node.outputs);
    std::vector<std::string> keys;
    keys.reserve(node.attributes.size());
    for (const auto& [key, attribute] : node.attributes) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    AddNumber(keys.size());
    for (const std::string& key : keys) {
      sha256_.AddPart(key);
      const graph::Attribute& attribute = node.attributes.at(key);
      AddNumber(attribute.index());
      std::visit([this](const auto& value) { AddAttribute(value); }, attribute);
    }
    AddNumber(node.fused.size());
    for (const graph::FusedOp& fused : node.fused) {
      sha256_.AddPart(fused.op);
      AddNumber(fused.alpha);
      AddNumber(fused.beta);
      AddNumber(fused.input);
    }
  }

  void AddAttribute(int64_t value) { AddNumber(value); }
  void AddAttribute(float value) { AddNumber(value); }
  void AddAttribute(const std::string& value) { sha256_.AddPart(value); }
  void AddAttribute(const std::vector<int64_t>& value) { AddNumbers(value); }
  void AddAttribute(const std::vector<float>& value) { AddNumbers(value); }
  void AddAttribute(const std::vector<std::string>& value) {
    AddNumber(value.size());
    for (const std::string& text : value) sha256_.AddPart(text);
  }
  void AddAttribute(const Tensor& value) { AddTensor(value); }
  void AddAttribute(const std::shared_ptr<const Graph>& body) {
    AddNumber(body != nullptr);
    if (body != nullptr) Add(*body);
  }

  const KnownConstants& known_;
  Sha256 sha256_;
};

}  // namespace

KnownConstants ConstantsOf(const Graph& graph) {
  KnownConstants known;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto& constant = graph.value(static_cast<ValueId>(i)).constant;
    if (constant) known.emplace(constant->id(), i);
  }
  return known;
}

Sha256::Digest Fingerprint(const Graph& graph, const KnownConstants& known) {
  Hasher hasher(known);
  hasher.Add(graph);
  return hasher.Finish();
}

}  // namespace octet::runtime
