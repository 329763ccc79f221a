#include "runtime/self_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <random>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/infer.h"
#include "kernels/cpu.h"
#include "kernels/expand_weights.h"
#include "kernels/lowering.h"
#include "runtime/integer_oracle.h"
#include "runtime/plan.h"
#include "runtime/random_data.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::TensorType;
using graph::ValueId;

// Results that tell something: not all clipped to the same number.
constexpr int kSamples = 64;
constexpr int kMostCandidates = 128;
constexpr double kFloatTolerance = 1e-4;
// Inputs and outputs of a convolution together.
constexpr int64_t kMostImageElements = int64_t{2} << 20;

bool HasZeroPoint(const TensorType& type) {
  return std::any_of(type.quant->zero_points.begin(), type.quant->zero_points.end(),
                     [](int32_t zero_point) { return zero_point != 0; });
}

// All that a kernel is chosen by; scales and zero points are data to it.
std::string TypeKey(const TensorType& type) {
  std::string key = absl::StrCat(Name(type.dtype), ToText(type.shape));
  if (!type.quant) return key;
  return absl::StrCat(key, type.quant->axis ? " by channel" : " whole",
                      HasZeroPoint(type) ? " with zero point" : "");
}

std::string NodeKey(const Node& node) {
  std::string key = absl::StrCat(node.op, " ", node.Int("group", 1), " ", node.Int("transA", 0),
                                 " ", node.Int("transB", 0), " ", node.Float("alpha", 1), " ",
                                 node.Float("beta", 1), " ", node.String("auto_pad", ""));
  for (const char* attribute : {"strides", "dilations", "pads"}) {
    absl::StrAppend(&key, " ", absl::StrJoin(node.Ints(attribute), ","));
  }
  for (const graph::FusedOp& fused : node.fused) {
    absl::StrAppend(&key, " ", fused.op, "(", fused.alpha, ",", fused.beta, ",", fused.input, ")");
  }
  return key;
}

struct Range {
  double first, last;
};

Range CodesOf(DataType type) { return type == DataType::kUint8 ? Range{0, 255} : Range{-128, 127}; }

struct Sample {
  int64_t element;
  double expected;
};

// One layer, apart from its graph: its inputs are random, its weights and other constants its own.
class LayerCheck {
 public:
  LayerCheck(const Graph& graph, const Node& node, const RandomData& data,
             kernels::WeightCache& weights, Block& arena, Block& scratch)
      : graph_(graph),
        node_(node),
        data_(data),
        weights_(weights),
        arena_(arena),
        scratch_(scratch),
        output_(graph.value(node.outputs[0]).type) {
    for (const ValueId input : node.inputs) {
      types_.push_back(input == kNoValue ? TensorType() : graph.value(input).type);
    }
    LimitImages();
  }

  // What distinguishes this layer from others; equal layers are checked once.
  std::string Key() const {
    std::string key = absl::StrCat(NodeKey(node_), " -> ", TypeKey(output_));
    for (size_t i = 0; i < node_.inputs.size(); ++i) {
      if (!node_.HasInput(i)) {
        absl::StrAppend(&key, " -");
        continue;
      }
      absl::StrAppend(&key, " ", TypeKey(types_[i]),
                      graph_.IsConstant(node_.inputs[i]) ? " constant" : "",
                      kernels::ExpansionOf(graph_, node_.inputs[i]) ? " expanded" : "",
                      IsQuantizedHere(node_.inputs[i]) ? " quantized" : "");
    }
    // Without VNNI, whether products saturate depends on the weights.
    if (!kernels::HasVnni()) {
      absl::StrAppend(&key, " ", static_cast<int>(node_.inputs[1]));
    }
    return key;
  }

  // None if the layer is right. Unimplemented if it has no exact form.
  absl::StatusOr<std::optional<KernelMismatch>> Run() {
    OCTET_ASSIGN_OR_RETURN(IntegerOracle oracle, MakeOperands());
    std::vector<Sample> samples = Choose(oracle);
    Widen(samples);
    OCTET_RETURN_IF_ERROR(RunKernel());
    std::string wrong = Compare(samples);
    if (!wrong.empty() && !operands_[0].type.quant) {
      // Kernels may quantize rows to signed codes too.
      OCTET_ASSIGN_OR_RETURN(
          IntegerOracle signed_rows,
          IntegerOracle::Create(node_, operands_, output_.shape, RowCodes::kInt8));
      for (Sample& sample : samples) sample.expected = signed_rows.At(sample.element);
      if (Compare(samples).empty()) wrong.clear();
    }
    if (wrong.empty()) return std::nullopt;
    return KernelMismatch{.node = node_.name, .kernel = kernel_, .detail = std::move(wrong)};
  }

 private:
  // Bounds time and memory: of a batch of large images some are left out. Images whose range is
  // measured at run time go through the kernel one by one, so that two show as much as many.
  void LimitImages() {
    if (node_.op != "Conv") return;
    const int64_t images = types_[0].shape[0];
    const int64_t elements = ElementCount(types_[0].shape) + ElementCount(output_.shape);
    int64_t limit =
        std::max<int64_t>(kMostImageElements * images / std::max<int64_t>(elements, 1), 1);
    if (!types_[0].quant) limit = std::min<int64_t>(limit, 2);
    if (images <= limit) return;
    for (size_t i = 0; i < types_.size(); ++i) {
      if (!node_.HasInput(i) || graph_.IsConstant(node_.inputs[i])) continue;
      Shape& shape = types_[i].shape;
      if (shape.size() == output_.shape.size() && shape[0] == images) shape[0] = limit;
    }
    output_.shape[0] = limit;
  }

  bool IsQuantizedHere(ValueId input) const {
    const auto producer = graph_.value(input).producer;
    return producer && graph_.node(*producer).op == "octet.Quantize";
  }

  absl::StatusOr<IntegerOracle> MakeOperands() {
    tensors_.resize(node_.inputs.size());
    operands_.resize(node_.inputs.size());
    for (size_t i = 0; i < node_.inputs.size(); ++i) {
      if (!node_.HasInput(i)) continue;
      const graph::Value& value = graph_.value(node_.inputs[i]);
      const TensorType& type = types_[i];
      operands_[i].type = type;
      if (value.constant) {
        tensors_[i] = *value.constant;
      } else if (const Node* expansion = kernels::ExpansionOf(graph_, node_.inputs[i])) {
        OCTET_ASSIGN_OR_RETURN(tensors_[i], kernels::ExpandedWeights(graph_, *expansion));
      } else if (type.quant) {
        OCTET_ASSIGN_OR_RETURN(tensors_[i], data_.Codes(type, i));
      } else if (type.dtype == DataType::kFloat32) {
        const Shape& shape = type.shape;
        const int64_t rows = node_.op == "Conv" ? shape[0] : ElementCount(shape) / shape.back();
        OCTET_ASSIGN_OR_RETURN(tensors_[i], data_.Rows(shape, ElementCount(shape) / rows));
      } else {
        return absl::UnimplementedError(absl::StrCat("an operand of ", Name(type.dtype)));
      }
      operands_[i].value = tensors_[i].view();
    }
    OCTET_ASSIGN_OR_RETURN(IntegerOracle oracle,
                           IntegerOracle::Create(node_, operands_, output_.shape));
    MatchFloatOperands(oracle);
    return oracle;
  }

  // Float operands of fused operators become as large as what they meet, or they would not count.
  void MatchFloatOperands(IntegerOracle& oracle) {
    const int64_t elements = ElementCount(output_.shape);
    for (size_t i = 2; i < operands_.size(); ++i) {
      if (!node_.HasInput(i) || operands_[i].type.quant || graph_.IsConstant(node_.inputs[i])) {
        continue;
      }
      const double product = std::abs(oracle.Product(elements / 2));
      const auto factor = static_cast<float>(product > 0 ? product : 1);
      for (float& value : tensors_[i].MutableAs<float>()) value *= factor;
    }
  }

  std::vector<Sample> Choose(IntegerOracle& oracle) const {
    const int64_t elements = ElementCount(output_.shape);
    std::mt19937_64 random(static_cast<uint64_t>(elements));
    std::vector<Sample> samples;
    int telling = 0;
    for (int i = 0; i < kMostCandidates && telling < kSamples; ++i) {
      const int64_t element =
          i == 0   ? 0
          : i == 1 ? elements - 1
                   : static_cast<int64_t>(random() % static_cast<uint64_t>(elements));
      const double product = oracle.Product(element);
      const double result = oracle.Chain(product, element);
      const double nearby = oracle.Chain(product * 1.02, element);
      if (std::abs(nearby - result) > 1e-3 * std::abs(product)) ++telling;
      samples.push_back({element, result});
    }
    return samples;
  }

  // Gives an 8-bit result a scale that these results fill, so that none is hidden by clipping.
  // Scales are data to a kernel: it is the same one.
  void Widen(const std::vector<Sample>& samples) {
    if (!output_.quant) return;
    const Range codes = CodesOf(output_.dtype);
    const double zero_point = output_.quant->zero_points[0];
    const double steps = std::max(codes.last - zero_point, zero_point - codes.first);
    double largest = 0;
    for (const Sample& sample : samples) largest = std::max(largest, std::abs(sample.expected));
    if (largest > 0) output_.quant->scales[0] = static_cast<float>(largest / steps);
  }

  // The graph of this layer alone, and of the quantizer before it, which decides on the layout.
  Graph Alone(std::vector<Tensor>& inputs) const {
    Graph alone(graph_.registry());
    const auto add_input = [&](const graph::Value& value, TensorType type, Tensor tensor) {
      graph::Input input{.border_type = type.dtype};
      input.symbols.resize(type.shape.size());
      inputs.push_back(std::move(tensor));
      return alone.AddInput(std::move(input), value.name, std::move(type));
    };
    Node node = node_;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.HasInput(i)) continue;
      const graph::Value& value = graph_.value(node_.inputs[i]);
      if (value.constant) {
        node.inputs[i] = alone.AddConstant(value.name, *value.constant, value.type.quant);
      } else if (const Node* expansion = kernels::ExpansionOf(graph_, node_.inputs[i])) {
        node.inputs[i] = kernels::CopyExpansion(graph_, *expansion, alone);
      } else if (IsQuantizedHere(node_.inputs[i])) {
        const ValueId real = add_input(value, {.shape = types_[i].shape}, Real(i));
        node.inputs[i] = alone.Apply("octet.Quantize", "quantize", {real}, {}, types_[i]);
      } else {
        node.inputs[i] = add_input(value, types_[i], tensors_[i]);
      }
    }
    node.outputs = {alone.AddValue("result", output_)};
    alone.AddNode(node);
    alone.AddOutput(node.outputs[0], "result", output_.dtype);
    return alone;
  }

  // The numbers that operand `i`'s codes stand for.
  Tensor Real(size_t i) const {
    Tensor real = *Tensor::Allocate(DataType::kFloat32, tensors_[i].shape());
    const graph::QuantParams& quant = *operands_[i].type.quant;
    const float scale = quant.scales[0];
    const auto zero_point = static_cast<float>(quant.zero_points[0]);
    VisitType(tensors_[i].dtype(), [&]<typename T>() {
      const auto from = tensors_[i].As<T>();
      const auto to = real.MutableAs<float>();
      for (size_t e = 0; e < to.size(); ++e) {
        to[e] = scale * (static_cast<float>(from[e]) - zero_point);
      }
    });
    return real;
  }

  absl::Status RunKernel() {
    std::vector<Tensor> inputs;
    const Graph alone = Alone(inputs);
    auto plan = std::make_shared<Plan>();
    OCTET_ASSIGN_OR_RETURN(plan->program, kernels::LowerGraph(alone, weights_));
    plan->memory = PlanMemory(plan->program);
    for (const kernels::Step& step : plan->program.steps) {
      if (step.macs > 0) kernel_ = step.kernel->implementation();
    }
    OCTET_RETURN_IF_ERROR(arena_.Reserve(plan->memory.arena_bytes).status());
    OCTET_RETURN_IF_ERROR(scratch_.Reserve(plan->program.scratch_bytes).status());
    BoundPlan bound(std::move(plan), arena_.data(), scratch_.data());
    for (size_t i = 0; i < inputs.size(); ++i) {
      std::memcpy(bound.input(i).data, inputs[i].data(), inputs[i].byte_size());
    }
    OCTET_RETURN_IF_ERROR(bound.Run());
    result_ = bound.output(0);
    return absl::OkStatus();
  }

  // Empty if every sample is right, else what is wrong.
  std::string Compare(const std::vector<Sample>& samples) const {
    return output_.quant ? CompareCodes(samples) : CompareFloats(samples);
  }

  std::string CompareCodes(const std::vector<Sample>& samples) const {
    const Range codes = CodesOf(output_.dtype);
    std::string first;
    int wrong = 0;
    for (const Sample& sample : samples) {
      const double code = std::clamp(std::nearbyint(sample.expected / output_.quant->scales[0]) +
                                         output_.quant->zero_points[0],
                                     codes.first, codes.last);
      const auto element = static_cast<size_t>(sample.element);
      const int actual = output_.dtype == DataType::kUint8 ? int{result_.As<uint8_t>()[element]}
                                                           : int{result_.As<int8_t>()[element]};
      if (std::abs(actual - code) <= 1) continue;
      if (wrong++ == 0) {
        first =
            absl::StrFormat("element %d is code %d, exactly %.0f", sample.element, actual, code);
      }
    }
    return Verdict(wrong, samples.size(), first);
  }

  std::string CompareFloats(const std::vector<Sample>& samples) const {
    double largest = 0;
    for (const Sample& sample : samples) largest = std::max(largest, std::abs(sample.expected));
    std::string first;
    int wrong = 0;
    for (const Sample& sample : samples) {
      const double actual = result_.As<float>()[static_cast<size_t>(sample.element)];
      if (std::abs(actual - sample.expected) <= kFloatTolerance * largest) continue;
      if (wrong++ == 0) {
        first = absl::StrFormat("element %d is %g, exactly %g", sample.element, actual,
                                sample.expected);
      }
    }
    return Verdict(wrong, samples.size(), first);
  }

  static std::string Verdict(int wrong, size_t samples, const std::string& first) {
    if (wrong == 0) return "";
    return absl::StrFormat("%d of %d sampled results are wrong: %s", wrong, samples, first);
  }

  const Graph& graph_;
  const Node& node_;
  const RandomData& data_;
  kernels::WeightCache& weights_;
  Block& arena_;
  Block& scratch_;
  TensorType output_;
  std::vector<TensorType> types_;  // by input of the node
  std::vector<Tensor> tensors_;
  std::vector<LayerOperand> operands_;  // views of them
  std::string kernel_;
  ConstTensorView result_;
};

bool IsInt8Layer(const Graph& graph, const Node& node) {
  if (node.schema->quant != graph::QuantRole::kCompute || !node.HasInput(1)) return false;
  const graph::Value& weight = graph.value(node.inputs[1]);
  return (weight.constant || kernels::ExpansionOf(graph, node.inputs[1])) && weight.type.quant &&
         ElementCount(weight.type.shape) > 0 &&
         ElementCount(graph.value(node.outputs[0]).type.shape) > 0;
}

}  // namespace

absl::StatusOr<SelfCheckResult> CheckInt8Layers(const Graph& graph,
                                                std::span<const Shape> input_shapes,
                                                kernels::WeightCache& weights) {
  OCTET_ASSIGN_OR_RETURN(const Graph concrete, graph::Specialize(graph, input_shapes));
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, concrete.TopologicalOrder());
  std::optional<RandomData> data;
  Block arena, scratch;
  absl::flat_hash_map<std::string, std::optional<KernelMismatch>> known;
  SelfCheckResult result;
  for (const NodeId id : order) {
    const Node& node = concrete.node(id);
    if (!IsInt8Layer(concrete, node)) continue;
    ++result.layers;
    if (!data) data.emplace();
    LayerCheck check(concrete, node, *data, weights, arena, scratch);
    const auto [found, added] = known.try_emplace(check.Key());
    if (added) {
      absl::StatusOr<std::optional<KernelMismatch>> checked = check.Run();
      if (checked.ok()) {
        found->second = *std::move(checked);
        ++result.checked;
      } else if (checked.status().code() != absl::StatusCode::kUnimplemented) {
        return Annotate(checked.status(), absl::StrCat("node ", node.name));
      }
    }
    if (!found->second) continue;
    result.mismatches.push_back(*found->second);
    result.mismatches.back().node = node.name;  // equal layers are equally wrong
  }
  return result;
}

}  // namespace octet::runtime
