#include "runtime/network_delta.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "runtime/binary_form.h"

namespace octet::graph {

// Found by the type's namespace; one for both directions.
template <typename Archive>
void Fields(Archive& archive, QuantParams& params) {
  archive(params.scales, params.zero_points, params.axis);
}

template <typename Archive>
void Fields(Archive& archive, FusedOp& fused) {
  archive(fused.op, fused.alpha, fused.beta, fused.input);
}

}  // namespace octet::graph

namespace octet {

template <typename Archive>
void Fields(Archive& archive, DataType& type) {
  std::string name;
  if constexpr (!Archive::kReads) name = std::string(Name(type));
  archive(name);
  if constexpr (Archive::kReads) {
    const std::optional<DataType> found = DataTypeFromName(name);
    if (!found) archive.Fail();
    type = found.value_or(DataType::kFloat32);
  }
}

template <typename Archive>
void Fields(Archive& archive, Tensor& tensor) {
  if constexpr (!Archive::kReads) {
    archive(tensor.dtype(), tensor.shape());
    archive.Raw({tensor.data(), tensor.byte_size()});
  } else {
    DataType type{};
    Shape shape;
    archive(type, shape);
    // Not more than there is: Allocate() comes after the bytes have been found.
    const absl::StatusOr<size_t> size = CheckedByteSize(type, shape, archive.remaining());
    const auto bytes = archive.Raw(size.value_or(SIZE_MAX));
    if (!archive.ok()) return;
    absl::StatusOr<Tensor> allocated = Tensor::Allocate(type, std::move(shape));
    if (!allocated.ok()) return archive.Fail();
    tensor = *std::move(allocated);
    std::copy(bytes.begin(), bytes.end(), tensor.mutable_data());
  }
}

}  // namespace octet

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;

// What gives a value its content. Numbers of the file: never change them, only add.
enum class Source : uint8_t {
  kNode = 0,          // or nobody any more
  kInput = 1,         // of the network
  kBaseConstant = 2,  // with the bytes of the base network's
  kConstant = 3,      // with bytes of its own
};
constexpr uint8_t kLastSource = 3;

struct ValueRecord {
  std::string name;
  uint8_t source = 0;
  DataType dtype = DataType::kFloat32;
  Shape shape;
  std::optional<graph::QuantParams> quant;
  uint64_t base = 0;  // kBaseConstant: the base network's value
  Tensor constant;    // kConstant
};

template <typename Archive>
void Fields(Archive& archive, ValueRecord& value) {
  archive(value.name, value.source, value.dtype, value.shape, value.quant);
  if (value.source == static_cast<uint8_t>(Source::kBaseConstant)) archive(value.base);
  if (value.source == static_cast<uint8_t>(Source::kConstant)) archive(value.constant);
}

// Numbers and texts; what is a tensor or a body is in the node of that name of the base network.
struct AttributeRecord {
  std::string key;
  uint8_t kind = 0;  // index in graph::Attribute
  int64_t integer = 0;
  float number = 0;
  std::string text;
  std::vector<int64_t> integers;
  std::vector<float> numbers;
  std::vector<std::string> texts;
};

template <typename Archive>
void Fields(Archive& archive, AttributeRecord& attribute) {
  archive(attribute.key, attribute.kind, attribute.integer, attribute.number, attribute.text,
          attribute.integers, attribute.numbers, attribute.texts);
}

struct NodeRecord {
  std::string op, name;
  std::vector<int32_t> inputs, outputs;
  std::vector<AttributeRecord> attributes;
  std::vector<graph::FusedOp> fused;
};

template <typename Archive>
void Fields(Archive& archive, NodeRecord& node) {
  archive(node.op, node.name, node.inputs, node.outputs, node.attributes, node.fused);
}

ValueRecord RecordOf(const graph::Value& value, bool is_input, const KnownConstants& known) {
  ValueRecord record{.name = value.name,
                     .dtype = value.type.dtype,
                     .shape = value.type.shape,
                     .quant = value.type.quant};
  Source source = is_input ? Source::kInput : Source::kNode;
  // Constants that nobody reads have lost their bytes; they stay as values, so that ids stay.
  if (value.constant && value.constant->has_bytes()) {
    const auto found = known.find(value.constant->id());
    source = found == known.end() ? Source::kConstant : Source::kBaseConstant;
    if (found == known.end()) {
      record.constant = *value.constant;
    } else {
      record.base = found->second;
    }
  }
  record.source = static_cast<uint8_t>(source);
  return record;
}

AttributeRecord RecordOf(const std::string& key, const graph::Attribute& attribute) {
  AttributeRecord record{.key = key, .kind = static_cast<uint8_t>(attribute.index())};
  if (const auto* integer = std::get_if<int64_t>(&attribute)) record.integer = *integer;
  if (const auto* number = std::get_if<float>(&attribute)) record.number = *number;
  if (const auto* text = std::get_if<std::string>(&attribute)) record.text = *text;
  if (const auto* list = std::get_if<std::vector<int64_t>>(&attribute)) record.integers = *list;
  if (const auto* list = std::get_if<std::vector<float>>(&attribute)) record.numbers = *list;
  if (const auto* list = std::get_if<std::vector<std::string>>(&attribute)) record.texts = *list;
  return record;
}

NodeRecord RecordOf(const graph::Node& node) {
  NodeRecord record{.op = node.op, .name = node.name, .fused = node.fused};
  for (const ValueId id : node.inputs) record.inputs.push_back(static_cast<int32_t>(id));
  for (const ValueId id : node.outputs) record.outputs.push_back(static_cast<int32_t>(id));
  for (const auto& [key, attribute] : node.attributes) {
    record.attributes.push_back(RecordOf(key, attribute));
  }
  std::sort(record.attributes.begin(), record.attributes.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return record;
}

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a network of this model: ", what));
}

// Builds a graph record by record; what a record says is checked before it is done.
class Builder {
 public:
  explicit Builder(const Graph& base) : base_(base), graph_(base.registry()) {
    for (const graph::NodeId id : base.Nodes()) nodes_.emplace(base.node(id).name, id);
  }

  absl::Status Add(ValueRecord record) {
    if (record.quant) OCTET_RETURN_IF_ERROR(CheckQuantizer(record));
    graph::TensorType type{record.dtype, record.shape, record.quant};
    switch (static_cast<Source>(record.source)) {
      case Source::kNode:
        graph_.AddValue(std::move(record.name), std::move(type));
        produced_.push_back(false);
        return absl::OkStatus();
      case Source::kInput: {
        const size_t index = graph_.inputs().size();
        if (index >= base_.inputs().size()) return Wrong("it has more inputs");
        const graph::Input& input = base_.inputs()[index];
        if (base_.value(input.value).type.shape != record.shape) {
          return Wrong(absl::StrCat("input ", record.name, " has another shape"));
        }
        graph_.AddInput(input, std::move(record.name), std::move(type));
        break;
      }
      case Source::kBaseConstant: {
        if (record.base >= base_.value_count()) return Wrong("a constant is not there");
        const auto& constant = base_.value(static_cast<ValueId>(record.base)).constant;
        if (!constant || !constant->has_bytes() || constant->dtype() != record.dtype ||
            constant->shape() != record.shape) {
          return Wrong(absl::StrCat("constant ", record.name, " is another"));
        }
        graph_.AddConstant(std::move(record.name), *constant, std::move(record.quant));
        break;
      }
      case Source::kConstant:
        if (record.constant.dtype() != record.dtype || record.constant.shape() != record.shape) {
          return Wrong(absl::StrCat("constant ", record.name, " does not fit its type"));
        }
        graph_.AddConstant(std::move(record.name), std::move(record.constant),
                           std::move(record.quant));
        break;
    }
    produced_.push_back(true);
    return absl::OkStatus();
  }

  absl::Status Add(NodeRecord record) {
    graph::Node node{.op = std::move(record.op), .name = std::move(record.name)};
    const auto found = nodes_.find(node.name);
    const graph::Node* const base = found == nodes_.end() ? nullptr : &base_.node(found->second);
    if (base != nullptr && base->op == node.op) node.schema = base->schema;
    if (node.schema == nullptr) node.schema = base_.registry().FindNewest(node.op);
    if (node.schema == nullptr) return Wrong(absl::StrCat("operator ", node.op, " is unknown"));
    for (const int32_t id : record.inputs) {
      if (!IsValue(id) && id != static_cast<int32_t>(graph::kNoValue)) return WrongReference(node);
      node.inputs.push_back(static_cast<ValueId>(id));
    }
    for (const int32_t id : record.outputs) {
      node.outputs.push_back(static_cast<ValueId>(id));
      if (id == static_cast<int32_t>(graph::kNoValue)) continue;
      if (!IsValue(id) || produced_[static_cast<size_t>(id)]) return WrongReference(node);
      produced_[static_cast<size_t>(id)] = true;
    }
    for (AttributeRecord& attribute : record.attributes) {
      OCTET_RETURN_IF_ERROR(AddAttribute(attribute, base, node));
    }
    for (const graph::FusedOp& fused : record.fused) {
      if (fused.input < -1 || fused.input >= static_cast<int>(node.inputs.size())) {
        return WrongReference(node);
      }
    }
    node.fused = std::move(record.fused);
    graph_.AddNode(std::move(node));
    return absl::OkStatus();
  }

  absl::StatusOr<Graph> Finish(const std::vector<int32_t>& outputs) {
    if (graph_.inputs().size() != base_.inputs().size() ||
        outputs.size() != base_.outputs().size()) {
      return Wrong("it has other inputs or outputs");
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const graph::Output& output = base_.outputs()[i];
      if (!IsValue(outputs[i]) || !produced_[static_cast<size_t>(outputs[i])]) {
        return Wrong(absl::StrCat("nothing makes output ", output.name));
      }
      graph_.AddOutput(static_cast<ValueId>(outputs[i]), output.name, output.border_type);
    }
    const absl::Status status = graph_.Verify();
    if (!status.ok()) return Wrong(status.message());
    return std::move(graph_);
  }

 private:
  bool IsValue(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < graph_.value_count();
  }

  static absl::Status WrongReference(const graph::Node& node) {
    return Wrong(absl::StrCat("node ", node.name, " reads or makes what is not there"));
  }

  static absl::Status CheckQuantizer(const ValueRecord& value) {
    const graph::QuantParams& quant = *value.quant;
    size_t count = 1;
    bool fits = true;
    if (quant.axis) {
      fits = *quant.axis >= 0 && static_cast<size_t>(*quant.axis) < value.shape.size();
      const int64_t size = fits ? value.shape[static_cast<size_t>(*quant.axis)] : 0;
      count = size > 0 ? static_cast<size_t>(size) : quant.scales.size();
    }
    fits = fits && quant.scales.size() == count && quant.zero_points.size() == count &&
           std::all_of(quant.scales.begin(), quant.scales.end(),
                       [](float scale) { return std::isfinite(scale) && scale > 0; }) &&
           std::all_of(quant.zero_points.begin(), quant.zero_points.end(),
                       [](int32_t zero) { return zero >= -128 && zero <= 255; });
    if (fits) return absl::OkStatus();
    return Wrong(absl::StrCat("value ", value.name,
                              ": expected finite positive scales that fit its shape, and zero "
                              "points of 8 bits"));
  }

  static absl::Status AddAttribute(AttributeRecord& record, const graph::Node* base,
                                   graph::Node& node) {
    graph::Attribute& attribute = node.attributes[record.key];
    switch (record.kind) {
      case 0:
        attribute = record.integer;
        return absl::OkStatus();
      case 1:
        attribute = record.number;
        return absl::OkStatus();
      case 2:
        attribute = std::move(record.text);
        return absl::OkStatus();
      case 3:
        attribute = std::move(record.integers);
        return absl::OkStatus();
      case 4:
        attribute = std::move(record.numbers);
        return absl::OkStatus();
      case 5:
        attribute = std::move(record.texts);
        return absl::OkStatus();
      default:
        break;
    }
    const bool there = base != nullptr && base->attributes.contains(record.key) &&
                       base->attributes.at(record.key).index() == record.kind;
    if (!there) return Wrong(absl::StrCat("node ", node.name, ": attribute ", record.key));
    attribute = base->attributes.at(record.key);
    return absl::OkStatus();
  }

  const Graph& base_;
  absl::flat_hash_map<std::string, graph::NodeId> nodes_;  // of the base, by name
  Graph graph_;
  std::vector<bool> produced_;  // by ValueId: an input, a constant, or made by a node
};

}  // namespace

std::string EncodeNetwork(const Graph& graph, const KnownConstants& known) {
  std::vector<bool> is_input(graph.value_count());
  for (const graph::Input& input : graph.inputs()) {
    is_input[static_cast<size_t>(input.value)] = true;
  }
  BinaryWriter writer;
  writer(uint64_t{graph.value_count()});
  for (size_t i = 0; i < graph.value_count(); ++i) {
    writer(RecordOf(graph.value(static_cast<ValueId>(i)), is_input[i], known));
  }
  const std::vector<graph::NodeId> nodes = graph.Nodes();
  writer(uint64_t{nodes.size()});
  for (const graph::NodeId id : nodes) writer(RecordOf(graph.node(id)));
  std::vector<int32_t> outputs;
  for (const graph::Output& output : graph.outputs()) {
    outputs.push_back(static_cast<int32_t>(output.value));
  }
  writer(outputs);
  return writer.Take();
}

absl::StatusOr<Graph> DecodeNetwork(std::span<const std::byte> bytes, const Graph& base) {
  BinaryReader reader(bytes);
  Builder builder(base);
  uint64_t count = 0;
  reader(count);
  for (; reader.ok() && count > 0; --count) {
    ValueRecord value;
    reader(value);
    if (!reader.ok() || value.source > kLastSource) return Wrong("a value is damaged");
    OCTET_RETURN_IF_ERROR(builder.Add(std::move(value)));
  }
  reader(count);
  for (; reader.ok() && count > 0; --count) {
    NodeRecord node;
    reader(node);
    if (!reader.ok()) return Wrong("a node is damaged");
    OCTET_RETURN_IF_ERROR(builder.Add(std::move(node)));
  }
  std::vector<int32_t> outputs;
  reader(outputs);
  if (!reader.Finish()) return Wrong("it is damaged");
  return builder.Finish(outputs);
}

}  // namespace octet::runtime
