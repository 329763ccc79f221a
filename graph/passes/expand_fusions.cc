// Operators that ONNX Runtime's optimizers write into model files (domain com.microsoft) become the
// ONNX operators they were fused from: one set of patterns and kernels serves both.
// Sources: the operators' documentation in ONNX Runtime, docs/ContribOperators.md.

#include <array>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/expansion.h"
#include "graph/passes/passes.h"

namespace octet::graph {
namespace {

using Attributes = Expansion::Attributes;

// The two last dimensions swapped.
ValueId TransposedMatrix(Expansion& e, size_t input) {
  std::vector<int64_t> permutation(static_cast<size_t>(e.rank(input)));
  for (size_t i = 0; i < permutation.size(); ++i) permutation[i] = static_cast<int64_t>(i);
  std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
  return e.Transposed(e.input(input), std::move(permutation));
}

absl::Status ExpandFusedMatMul(Expansion& e) {
  const Node& node = e.node();
  if (node.Int("transBatchA", 0) != 0 || node.Int("transBatchB", 0) != 0) {
    return absl::UnimplementedError("transBatchA and transBatchB are not supported");
  }
  const ValueId left = node.Int("transA", 0) != 0 ? TransposedMatrix(e, 0) : e.input(0);
  const ValueId right = node.Int("transB", 0) != 0 ? TransposedMatrix(e, 1) : e.input(1);
  ValueId product = e.Apply("MatMul", {left, right});
  const float alpha = node.Float("alpha", 1);
  if (alpha != 1) product = e.Apply("Mul", {product, e.Float(alpha)});
  e.SetOutput(0, product);
  return absl::OkStatus();
}

absl::Status ExpandGelu(Expansion& e) {
  const ValueId x = e.AddIf(e.input(0), e.HasInput(1) ? e.input(1) : kNoValue);
  e.SetOutput(0, e.Apply("Gelu", {x}));
  return absl::OkStatus();
}

absl::Status ExpandFastGelu(Expansion& e) {
  const ValueId x = e.AddIf(e.input(0), e.HasInput(1) ? e.input(1) : kNoValue);
  e.SetOutput(0, e.Apply("Gelu", {x}, {{"approximate", std::string("tanh")}}));
  return absl::OkStatus();
}

absl::Status ExpandQuickGelu(Expansion& e) {
  e.SetOutput(0, e.Apply("Swish", {e.input(0)}, {{"alpha", e.node().Float("alpha", 1.702f)}}));
  return absl::OkStatus();
}

Attributes LastAxis(const Node& node, float epsilon) {
  return {{"axis", node.Int("axis", -1)}, {"epsilon", node.Float("epsilon", epsilon)}};
}

constexpr float kSkipEpsilon = 1e-12f;
constexpr size_t kSumOutput = 3;  // mean and inverse deviation, 1 and 2, are for training

absl::Status ExpandSkipLayerNormalization(Expansion& e) {
  ValueId sum = e.Apply("Add", {e.input(0), e.input(1)});
  if (e.HasInput(4)) sum = e.Apply("Add", {sum, e.input(4)});
  std::vector<ValueId> inputs = {sum, e.input(2)};
  if (e.HasInput(3)) inputs.push_back(e.input(3));
  e.SetOutput(0, e.Apply("LayerNormalization", inputs, LastAxis(e.node(), kSkipEpsilon)));
  e.SetOutput(kSumOutput, sum);
  return absl::OkStatus();
}

absl::Status ExpandSkipSimplifiedLayerNormalization(Expansion& e) {
  ValueId sum = e.Apply("Add", {e.input(0), e.input(1)});
  if (e.HasInput(3)) sum = e.Apply("Add", {sum, e.input(3)});
  e.SetOutput(0, e.Apply("RMSNormalization", {sum, e.input(2)}, LastAxis(e.node(), kSkipEpsilon)));
  e.SetOutput(kSumOutput, sum);
  return absl::OkStatus();
}

absl::Status ExpandSimplifiedLayerNormalization(Expansion& e) {
  e.SetOutput(0, e.Apply("RMSNormalization", {e.input(0), e.input(1)}, LastAxis(e.node(), 1e-5f)));
  return absl::OkStatus();
}

// The embeddings of the positions 0, 1, ..., as many as the ids [batch, length] have.
ValueId Positions(Expansion& e, ValueId ids, ValueId table) {
  const ValueId length = e.Apply("Shape", {ids}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
  return e.Apply("Slice", {table, e.Ints({0}), length, e.Ints({0})});
}

enum EmbeddingInput : size_t {
  kIds,
  kSegments,
  kWords,
  kPositions,
  kSegmentTable,
  kGamma,
  kBeta,
  kMask,
  kPositionIds,
  kEmbeddingInputs
};

// `inputs` as EmbedLayerNormalization has them, kNoValue where one is absent.
void EmbedAndNormalize(Expansion& e, const std::vector<ValueId>& inputs) {
  ValueId sum = e.Apply("Gather", {inputs[kWords], inputs[kIds]});
  const ValueId positions = inputs[kPositionIds] != kNoValue
                                ? e.Apply("Gather", {inputs[kPositions], inputs[kPositionIds]})
                                : Positions(e, inputs[kIds], inputs[kPositions]);
  sum = e.Apply("Add", {sum, positions});
  if (inputs[kSegments] != kNoValue && inputs[kSegmentTable] != kNoValue) {
    sum = e.Apply("Add", {sum, e.Apply("Gather", {inputs[kSegmentTable], inputs[kSegments]})});
  }
  e.SetOutput(0, e.Apply("LayerNormalization", {sum, inputs[kGamma], inputs[kBeta]},
                         LastAxis(e.node(), kSkipEpsilon)));
  // How many tokens of each row count; without a mask ONNX Runtime says 0.
  const ValueId mask =
      inputs[kMask] != kNoValue ? inputs[kMask] : e.Apply("Sub", {inputs[kIds], inputs[kIds]});
  e.SetOutput(1, e.Apply("ReduceSum", {mask, e.Ints({1})}, {{"keepdims", int64_t{0}}}));
  e.SetOutput(2, sum);
}

absl::Status ExpandEmbedLayerNormalization(Expansion& e) {
  std::vector<ValueId> inputs = e.node().inputs;
  inputs.resize(kEmbeddingInputs, kNoValue);
  EmbedAndNormalize(e, inputs);
  return absl::OkStatus();
}

// The same with tables of codes; after the mask come their scales, then their zero points.
absl::Status ExpandQuantizedEmbedding(Expansion& e) {
  constexpr size_t kTables = kBeta - kWords + 1, kFirstScale = kMask + 1;
  std::vector<ValueId> inputs = e.node().inputs;
  inputs.resize(kFirstScale + 2 * kTables, kNoValue);
  for (size_t i = 0; i < kTables; ++i) {
    if (inputs[kWords + i] == kNoValue) continue;
    inputs[kWords + i] = e.Apply("DequantizeLinear", {inputs[kWords + i], inputs[kFirstScale + i],
                                                      inputs[kFirstScale + kTables + i]});
  }
  inputs.resize(kMask + 1);
  inputs.resize(kEmbeddingInputs, kNoValue);
  EmbedAndNormalize(e, inputs);
  return absl::OkStatus();
}

struct Activation {
  std::string name;
  float alpha, beta;
};

absl::StatusOr<ValueId> Activated(Expansion& e, ValueId x, const Activation& activation) {
  const std::string& name = activation.name;
  if (name.empty()) return x;
  if (name == "Relu" || name == "Sigmoid" || name == "Tanh") return e.Apply(name, {x});
  if (name == "LeakyRelu") return e.Apply(name, {x}, {{"alpha", activation.alpha}});
  if (name == "Clip") {
    return e.Apply(name, {x, e.Float(activation.alpha), e.Float(activation.beta)});
  }
  if (name == "HardSigmoid") {
    return e.Apply(name, {x}, {{"alpha", activation.alpha}, {"beta", activation.beta}});
  }
  return absl::UnimplementedError(absl::StrCat("activation ", name, " is not supported"));
}

Activation WithDefaults(std::string name, const std::vector<float>& parameters) {
  const auto at = [&](size_t i, float fallback) {
    return i < parameters.size() ? parameters[i] : fallback;
  };
  if (name == "Clip") {
    constexpr float kMost = std::numeric_limits<float>::max();
    return {std::move(name), at(0, -kMost), at(1, kMost)};
  }
  if (name == "HardSigmoid") return {std::move(name), at(0, 0.2f), at(1, 0.5f)};
  return {std::move(name), at(0, 0.01f), at(1, 0)};
}

// The node's attributes without those of its activation.
Attributes OwnAttributes(const Node& node) {
  Attributes result;
  for (const auto& [key, value] : node.attributes) {
    if (key.rfind("activation", 0) != 0 && key != "leaky_relu_alpha") result.emplace(key, value);
  }
  return result;
}

absl::Status ExpandFusedConv(Expansion& e) {
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.HasInput(2)) inputs.push_back(e.input(2));
  ValueId y = e.Apply("Conv", inputs, OwnAttributes(e.node()));
  if (e.HasInput(3)) y = e.Apply("Add", {y, e.input(3)});
  OCTET_ASSIGN_OR_RETURN(y, Activated(e, y,
                                      WithDefaults(e.node().String("activation", ""),
                                                   e.node().Floats("activation_params"))));
  e.SetOutput(0, y);
  return absl::OkStatus();
}

absl::Status ExpandFusedGemm(Expansion& e) {
  const Node& node = e.node();
  Activation activation = WithDefaults(node.String("activation", ""), {});
  activation.alpha =
      node.Float("activation_alpha", node.Float("leaky_relu_alpha", activation.alpha));
  activation.beta = node.Float("activation_beta", activation.beta);
  const ValueId product = e.Apply("Gemm", node.inputs, OwnAttributes(node));
  OCTET_ASSIGN_OR_RETURN(const ValueId y, Activated(e, product, activation));
  e.SetOutput(0, y);
  return absl::OkStatus();
}

absl::Status ExpandDynamicQuantizeMatMul(Expansion& e) {
  const ValueId product = MultiplyDynamic(e, e.input(0),
                                          {.codes = e.input(1),
                                           .scale = e.input(2),
                                           .zero_point = e.HasInput(3) ? e.input(3) : kNoValue});
  e.SetOutput(0, e.AddIf(product, e.HasInput(4) ? e.input(4) : kNoValue));
  return absl::OkStatus();
}

absl::Status ExpandMatMulIntegerToFloat(Expansion& e) {
  const auto input = [&](size_t i) { return e.HasInput(i) ? e.input(i) : kNoValue; };
  const ValueId product =
      MultiplyQuantized(e, {.codes = input(0), .scale = input(2), .zero_point = input(4)},
                        {.codes = input(1), .scale = input(3), .zero_point = input(5)});
  e.SetOutput(0, e.AddIf(product, input(6)));
  return absl::OkStatus();
}

// Operators that have come to mean the same in ONNX's own domain.
absl::Status ExpandToOnnx(Expansion& e) {
  const std::string op = e.node().op.substr(e.node().op.rfind('.') + 1);
  e.SetOutput(0, e.Apply(op, e.node().inputs, e.node().attributes));
  return absl::OkStatus();
}

struct Row {
  absl::string_view op;
  ExpandFn expand;
};
constexpr auto kRows = std::to_array<Row>({
    {"com.microsoft.Attention", ExpandAttention},
    {"com.microsoft.BiasGelu", ExpandGelu},
    {"com.microsoft.DequantizeLinear", ExpandToOnnx},
    {"com.microsoft.DynamicQuantizeMatMul", ExpandDynamicQuantizeMatMul},
    {"com.microsoft.EmbedLayerNormalization", ExpandEmbedLayerNormalization},
    {"com.microsoft.FastGelu", ExpandFastGelu},
    {"com.microsoft.FusedConv", ExpandFusedConv},
    {"com.microsoft.FusedGemm", ExpandFusedGemm},
    {"com.microsoft.FusedMatMul", ExpandFusedMatMul},
    {"com.microsoft.Gelu", ExpandGelu},
    {"com.microsoft.MatMulIntegerToFloat", ExpandMatMulIntegerToFloat},
    {"com.microsoft.MultiHeadAttention", ExpandMultiHeadAttention},
    {"com.microsoft.QAttention", ExpandQuantizedAttention},
    {"com.microsoft.QEmbedLayerNormalization", ExpandQuantizedEmbedding},
    {"com.microsoft.QGemm", ExpandQGemm},
    {"com.microsoft.QLinearAdd", ExpandQLinearBinary},
    {"com.microsoft.QLinearAveragePool", ExpandQLinearUnary},
    {"com.microsoft.QLinearConcat", ExpandQLinearConcat},
    {"com.microsoft.QLinearGlobalAveragePool", ExpandQLinearUnary},
    {"com.microsoft.QLinearLeakyRelu", ExpandQLinearUnary},
    {"com.microsoft.QLinearMul", ExpandQLinearBinary},
    {"com.microsoft.QLinearSigmoid", ExpandQLinearUnary},
    {"com.microsoft.QLinearSoftmax", ExpandQLinearUnary},
    {"com.microsoft.QuantizeLinear", ExpandToOnnx},
    {"com.microsoft.QuickGelu", ExpandQuickGelu},
    {"com.microsoft.SkipLayerNormalization", ExpandSkipLayerNormalization},
    {"com.microsoft.SkipSimplifiedLayerNormalization", ExpandSkipSimplifiedLayerNormalization},
    {"SimplifiedLayerNormalization", ExpandSimplifiedLayerNormalization},
});

}  // namespace

absl::StatusOr<int> ExpandFusions(Graph& graph) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph.TopologicalOrder());
  int rewrites = 0;
  for (const NodeId id : order) {
    for (const Row& row : kRows) {
      if (!graph.IsLive(id) || graph.node(id).op != row.op) continue;
      const std::string context =
          absl::StrCat("node ", graph.node(id).name, " (", graph.node(id).op, ")");
      Expansion expansion(graph, id);
      OCTET_RETURN_IF_ERROR(Annotate(row.expand(expansion), context));
      OCTET_RETURN_IF_ERROR(Annotate(expansion.Finish(), context));
      ++rewrites;
    }
  }
  return rewrites;
}

}  // namespace octet::graph
