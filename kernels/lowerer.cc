#include "kernels/lowerer.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/dnnl_status.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"
#include "kernels/reference_kernel.h"

namespace octet::kernels {
namespace {

constexpr char kPlainLayout[] = "plain";

// In topological order, but that what is made of constants alone is made right before it is read
// first: it then takes memory no longer than it has to.
absl::StatusOr<std::vector<graph::NodeId>> LoweringOrder(const graph::Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<graph::NodeId> order, graph.TopologicalOrder());
  const auto of_constants = [&](graph::NodeId id) {
    const graph::Node& node = graph.node(id);
    return !node.inputs.empty() &&
           std::all_of(node.inputs.begin(), node.inputs.end(), [&](graph::ValueId input) {
             return input == graph::kNoValue || graph.IsConstant(input);
           });
  };
  std::vector<graph::NodeId> result;
  absl::flat_hash_set<graph::NodeId> placed;
  const auto place = [&](graph::NodeId id) {
    if (placed.insert(id).second) result.push_back(id);
  };
  for (const graph::NodeId id : order) {
    if (of_constants(id)) continue;
    for (const graph::ValueId input : graph.node(id).inputs) {
      if (input == graph::kNoValue) continue;
      const auto producer = graph.value(input).producer;
      if (producer && of_constants(*producer)) place(*producer);
    }
    place(id);
  }
  for (const graph::NodeId id : order) place(id);  // what only the graph's outputs read
  return result;
}

}  // namespace

Lowerer::Lowerer(const graph::Graph& graph, WeightCache& weights, size_t first_early)
    : graph_(graph),
      weights_(weights),
      first_early_(std::min(first_early, graph.outputs().size())) {
  placements_.resize(graph.value_count());
  readers_left_.resize(graph.value_count());
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto id = static_cast<graph::ValueId>(i);
    readers_left_[i] = static_cast<int>(graph.value(id).consumers.size());
    if (graph.IsGraphOutput(id)) ++readers_left_[i];
  }
  early_outputs_.resize(graph.value_count());
  for (size_t o = first_early_; o < graph.outputs().size(); ++o) {
    early_outputs_[static_cast<size_t>(graph.outputs()[o].value)].push_back(o);
  }
  program_.outputs.assign(graph.outputs().size(), -1);
}

absl::StatusOr<Program> Lowerer::Run() {
  for (const graph::Input& input : graph_.inputs()) {
    const graph::TensorType& type = graph_.value(input.value).type;
    OCTET_ASSIGN_OR_RETURN(const size_t bytes, CheckedByteSize(type.dtype, type.shape));
    const int buffer = NewBuffer(bytes);
    Place(input.value, {.buffer = buffer, .desc = PlainDesc(type)});
    // Requests are written here: nobody may overwrite it, and it lives through the whole run.
    ++readers_left_[static_cast<size_t>(input.value)];
    program_.inputs.push_back(buffer);
    program_.input_types.push_back(type);
  }
  for (const graph::Input& input : graph_.inputs()) {
    OCTET_RETURN_IF_ERROR(OutputsEarly(input.value));
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<graph::NodeId> order, LoweringOrder(graph_));
  absl::flat_hash_map<graph::NodeId, AttentionPattern> patterns;  // by their last node
  absl::flat_hash_set<graph::NodeId> absorbed;
  for (AttentionPattern& pattern : FindAttention(graph_)) {
    absorbed.insert(pattern.absorbed.begin(), pattern.absorbed.end());
    const graph::NodeId product = pattern.product;
    patterns.emplace(product, std::move(pattern));
  }
  for (const graph::NodeId id : order) {
    if (absorbed.contains(id)) continue;
    const auto pattern = patterns.find(id);
    OCTET_RETURN_IF_ERROR(pattern == patterns.end() ? LowerNode(id)
                                                    : LowerPattern(pattern->second));
  }
  OCTET_RETURN_IF_ERROR(Outputs());
  for (const Step& step : program_.steps) {
    program_.scratch_bytes = std::max(program_.scratch_bytes, step.kernel->scratch_bytes());
  }
  return std::move(program_);
}

absl::Status Lowerer::LowerNode(graph::NodeId id) {
  const graph::Node& node = graph_.node(id);
  current_ = &node;
  const std::string context = absl::StrCat("node ", node.name, " (", node.op, ")");
  OCTET_RETURN_IF_ERROR(CatchDnnl(context, [&]() -> absl::Status {
    if (const LowerFn lower = OperatorOf(*node.schema).lower; lower != nullptr) {
      LoweringContext lowering(*this, node);
      OCTET_ASSIGN_OR_RETURN(const bool lowered, lower(lowering));
      if (lowered) return absl::OkStatus();
    }
    return LowerByReference(node);
  }));
  for (const graph::ValueId input : node.inputs) {
    if (input != graph::kNoValue) --readers_left_[static_cast<size_t>(input)];
  }
  for (const graph::ValueId output : node.outputs) {
    if (output != graph::kNoValue) OCTET_RETURN_IF_ERROR(OutputsEarly(output));
  }
  return absl::OkStatus();
}

absl::Status Lowerer::LowerPattern(const AttentionPattern& pattern) {
  const graph::Node& node = pattern.node;
  current_ = &node;
  bool lowered = false;
  OCTET_RETURN_IF_ERROR(
      CatchDnnl(absl::StrCat("node ", node.name, " (attention)"), [&]() -> absl::Status {
        LoweringContext lowering(*this, node);
        OCTET_ASSIGN_OR_RETURN(lowered, LowerAttention(lowering, pattern));
        return absl::OkStatus();
      }));
  if (!lowered) {
    for (const graph::NodeId id : pattern.absorbed) OCTET_RETURN_IF_ERROR(LowerNode(id));
    return LowerNode(pattern.product);
  }
  for (const graph::ValueId input : node.inputs) --readers_left_[static_cast<size_t>(input)];
  return OutputsEarly(node.outputs[0]);
}

absl::Status Lowerer::OutputsEarly(graph::ValueId id) {
  const std::vector<size_t>& outputs = early_outputs_[static_cast<size_t>(id)];
  if (outputs.empty()) return absl::OkStatus();
  const graph::Node early{.op = "Output", .name = graph_.value(id).name};
  current_ = &early;
  int buffer = -1;
  OCTET_RETURN_IF_ERROR(CatchDnnl(absl::StrCat("output ", early.name), [&]() -> absl::Status {
    OCTET_ASSIGN_OR_RETURN(buffer, Plain(id));
    return absl::OkStatus();
  }));
  current_ = nullptr;
  for (const size_t output : outputs) {
    program_.outputs[output] = buffer;
    program_.early_outputs.push_back({program_.steps.size(), output});
  }
  const auto& all = graph_.outputs();
  const auto last = all.begin() + static_cast<ptrdiff_t>(first_early_);
  const bool stays = std::any_of(all.begin(), last,
                                 [&](const graph::Output& output) { return output.value == id; });
  if (!stays) --readers_left_[static_cast<size_t>(id)];
  return absl::OkStatus();
}

absl::Status Lowerer::LowerByReference(const graph::Node& node) {
  if (node.schema->reference == nullptr || !node.fused.empty()) {
    return absl::UnimplementedError("no kernel takes this form of the operator");
  }
  LoweringContext lowering(*this, node);
  std::vector<int> inputs, outputs;
  std::vector<graph::TensorType> input_types, output_types;
  for (int i = 0; i < lowering.input_count(); ++i) {
    if (!lowering.has_input(i)) {
      inputs.push_back(-1);
      input_types.emplace_back();
      continue;
    }
    if (lowering.input_type(i).quant) {
      return absl::UnimplementedError("the operator has no kernel for quantized inputs");
    }
    if (lowering.input_type(i).dtype == DataType::kBFloat16) {
      return absl::UnimplementedError("the operator has no kernel for bfloat16 weights");
    }
    OCTET_ASSIGN_OR_RETURN(const int buffer, Plain(node.inputs[i]));
    inputs.push_back(buffer);
    input_types.push_back(lowering.input_type(i));
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const bool present = node.outputs[i] != graph::kNoValue;
    outputs.push_back(present ? lowering.PlainOutput(static_cast<int>(i)) : -1);
    output_types.push_back(present ? lowering.output_type(static_cast<int>(i))
                                   : graph::TensorType());
  }
  lowering.Emit(MakeReferenceKernel(node, std::move(input_types), std::move(output_types)),
                std::move(inputs), std::move(outputs));
  return absl::OkStatus();
}

absl::Status Lowerer::Outputs() {
  const graph::Node outputs{.op = "Output", .name = "outputs"};
  current_ = &outputs;
  for (size_t i = 0; i < graph_.outputs().size(); ++i) {
    const graph::Output& output = graph_.outputs()[i];
    if (program_.outputs[i] < 0) {
      absl::StatusOr<int> buffer = absl::InternalError("");
      OCTET_RETURN_IF_ERROR(CatchDnnl(absl::StrCat("output ", output.name), [&] {
        buffer = Plain(output.value);
        return buffer.status();
      }));
      program_.outputs[i] = *buffer;
      // A constant, which no node has made.
      if (i >= first_early_) program_.early_outputs.push_back({program_.steps.size(), i});
    }
    program_.output_types.push_back(graph_.value(output.value).type);
  }
  current_ = nullptr;
  return absl::OkStatus();
}

absl::StatusOr<int> Lowerer::Plain(graph::ValueId id) {
  const graph::Value& value = graph_.value(id);
  if (value.constant && PlacementsOf(id).empty()) {
    OCTET_ASSIGN_OR_RETURN(const int buffer, ConstantBuffer(value.constant->id(), kPlainLayout,
                                                            [&]() -> absl::StatusOr<Tensor> {
                                                              return *value.constant;
                                                            }));
    Place(id, {.buffer = buffer, .desc = PlainDesc(value.type)});
    return buffer;
  }
  const std::optional<dnnl::memory::desc> plain = PlainDesc(value.type);
  if (plain) return InLayout(id, *plain);
  if (PlacementsOf(id).empty()) {
    return absl::InternalError(absl::StrCat("value ", value.name, " was never computed"));
  }
  return PlacementsOf(id).front().buffer;
}

absl::StatusOr<int> Lowerer::InLayout(graph::ValueId id, const dnnl::memory::desc& desc) {
  if (graph_.IsConstant(id) && PlacementsOf(id).empty()) OCTET_RETURN_IF_ERROR(Plain(id).status());
  const std::vector<Placement>& placements = PlacementsOf(id);
  for (const Placement& placement : placements) {
    if (placement.desc && *placement.desc == desc) return placement.buffer;
  }
  if (placements.empty() || !placements.front().desc) {
    return absl::InternalError(
        absl::StrCat("value ", graph_.value(id).name, " cannot be laid out as a kernel asks"));
  }
  return Reordered(id, placements.front(), desc);
}

absl::StatusOr<int> Lowerer::Reordered(graph::ValueId id, const Placement& from,
                                       const dnnl::memory::desc& to) {
  const dnnl::memory::desc from_desc = *from.desc;
  const dnnl::reorder::primitive_desc desc(Engine(), from_desc, Engine(), to, BaseAttributes());
  const int source = from.buffer;  // Place() may move `from`
  const int buffer = NewBuffer(to.get_size());
  Place(id, {.buffer = buffer, .desc = to});
  const graph::Node reorder{.op = "Reorder", .name = current_->name};
  LoweringContext context(*this, reorder);
  const graph::Node* const node = current_;
  current_ = &reorder;
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_FROM, source, from_desc);
  call.Output(DNNL_ARG_TO, buffer, to);
  call.Emit(dnnl::reorder(desc), desc);
  current_ = node;
  return buffer;
}

void Lowerer::Place(graph::ValueId id, Placement placement) {
  values_in_[static_cast<size_t>(placement.buffer)].push_back(id);
  PlacementsOf(id).push_back(std::move(placement));
}

bool Lowerer::TakesBFloat16(graph::NodeId reader, graph::ValueId value) const {
  const graph::Node& node = graph_.node(reader);
  if (node.schema->quant != graph::QuantRole::kCompute || !node.HasInput(1)) return false;
  if (graph_.value(node.inputs[1]).type.dtype != DataType::kBFloat16) return false;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != value) continue;
    // What a convolution adds to its result may be bfloat16 where it is as large as the result.
    const bool fused =
        std::any_of(node.fused.begin(), node.fused.end(),
                    [&](const graph::FusedOp& op) { return op.input == static_cast<int>(i); });
    const Shape& shape = graph_.value(value).type.shape;
    if (!fused || node.op != "Conv" || shape != graph_.value(node.outputs[0]).type.shape) {
      return false;
    }
  }
  return true;
}

bool Lowerer::AllTakeBFloat16(graph::ValueId value) const {
  const auto& readers = graph_.value(value).consumers;
  return !readers.empty() && !graph_.IsGraphOutput(value) &&
         std::all_of(readers.begin(), readers.end(),
                     [&](graph::NodeId reader) { return TakesBFloat16(reader, value); });
}

bool Lowerer::SomebodyElseReads(int buffer) const {
  if (program_.buffers[static_cast<size_t>(buffer)].constant != nullptr) return true;
  int readers = 0;
  for (const graph::ValueId id : values_in_[static_cast<size_t>(buffer)]) {
    readers += readers_left_[static_cast<size_t>(id)];
  }
  return readers > 1;  // one is the node that asks
}

int Lowerer::NewBuffer(size_t bytes) {
  program_.buffers.push_back({.bytes = bytes});
  values_in_.emplace_back();
  return static_cast<int>(program_.buffers.size()) - 1;
}

int Lowerer::KeepConstant(const Tensor& tensor) {
  const int buffer = NewBuffer(tensor.byte_size());
  program_.buffers.back().constant = tensor.data();
  program_.buffers.back().in_file = tensor.in_file();
  program_.constants.push_back(std::make_shared<const Tensor>(tensor));
  return buffer;
}

absl::StatusOr<int> Lowerer::ConstantBuffer(uint64_t constant, const std::string& layout,
                                            const std::function<absl::StatusOr<Tensor>()>& pack) {
  OCTET_ASSIGN_OR_RETURN(const Tensor packed, weights_.Get(constant, layout, pack));
  if (!packed.has_bytes()) {
    return absl::FailedPreconditionError("the float weights were released after packing");
  }
  return KeepConstant(packed);
}

void Lowerer::Emit(std::unique_ptr<Kernel> kernel, std::vector<int> inputs,
                   std::vector<int> outputs, Work work, std::string layout) {
  program_.steps.push_back({.kernel = std::move(kernel),
                            .inputs = std::move(inputs),
                            .outputs = std::move(outputs),
                            .node = current_->name,
                            .op = current_->op,
                            .layout = std::move(layout),
                            .macs = work.macs,
                            .int8 = work.int8,
                            .bfloat16 = work.bfloat16});
}

absl::StatusOr<Program> LowerGraph(const graph::Graph& graph, WeightCache& weights,
                                   size_t first_early) {
  return Lowerer(graph, weights, first_early).Run();
}

void ForgetKernels() {
  const int capacity = dnnl::get_primitive_cache_capacity();
  dnnl::set_primitive_cache_capacity(0);
  dnnl::set_primitive_cache_capacity(capacity);
}

std::optional<dnnl::memory::desc> PlainDesc(const graph::TensorType& type) {
  dnnl::memory::data_type data_type;
  switch (type.dtype) {
    case DataType::kFloat32:
      data_type = dnnl::memory::data_type::f32;
      break;
    case DataType::kInt8:
      data_type = dnnl::memory::data_type::s8;
      break;
    case DataType::kUint8:
      data_type = dnnl::memory::data_type::u8;
      break;
    case DataType::kInt32:
      data_type = dnnl::memory::data_type::s32;
      break;
    case DataType::kBFloat16:
      data_type = dnnl::memory::data_type::bf16;
      break;
    default:
      return std::nullopt;
  }
  if (type.shape.size() > DNNL_MAX_NDIMS || ElementCount(type.shape) <= 0) return std::nullopt;
  dnnl::memory::dims dims(type.shape.begin(), type.shape.end());
  if (dims.empty()) dims.push_back(1);
  dnnl::memory::dims strides(dims.size(), 1);
  for (size_t d = dims.size() - 1; d > 0; --d) strides[d - 1] = strides[d] * dims[d];
  return dnnl::memory::desc(dims, data_type, strides);
}

const dnnl::engine& Engine() {
  static const auto* const kEngine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *kEngine;
}

}  // namespace octet::kernels
