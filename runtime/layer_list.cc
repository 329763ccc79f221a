#include "runtime/layer_list.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/equalize_layers.h"
#include "runtime/row_ranges.h"

namespace octet::runtime {
namespace {

using graph::NodeId;
using quant::Precision;

constexpr int64_t kLeastDepthAmongConvolutions = 256;
// From here on 4 bits cost little.
constexpr int64_t kManyWeights = 300'000'000;

// Of a layer that has samples to take ranges from.
bool IsDynamic(const graph::Node& layer, const QuantizeOptions& options, Recipe recipe) {
  return layer.op == "Conv" ? options.timing == QuantizeOptions::Timing::kDynamic
                            : TakesRangesByToken(options, recipe);
}

absl::Status StaticWithoutSamples(const graph::Node& node, const LayerRule& rule) {
  return absl::FailedPreconditionError(
      absl::StrCat("layer ", node.name, ": quantization.layers: match '", rule.match,
                   "' asks for static ranges, and there are no calibration samples"));
}

// Q012: algorithms that cut off outliers are no good for the activations of transformers.
absl::Status CheckClipping(const std::string& algorithm, bool force, absl::string_view where) {
  static constexpr std::array<absl::string_view, 3> kClipping = {"percentile", "entropy",
                                                                 "histogram_equalization"};
  if (force || std::find(kClipping.begin(), kClipping.end(), algorithm) == kClipping.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "Q012: ", where, "activations.algorithm ", algorithm,
      " clips outliers, which transformers need; set force: true beside it to take it all the "
      "same"));
}

absl::Status CheckClipping(const QuantizeOptions& options, Recipe recipe) {
  if (recipe != Recipe::kTransformer) return absl::OkStatus();
  for (const LayerRule& rule : options.layers) {
    if (!rule.activation_algorithm) continue;
    OCTET_RETURN_IF_ERROR(
        CheckClipping(*rule.activation_algorithm, rule.force_clipping,
                      absl::StrCat("quantization.layers: match '", rule.match, "': ")));
  }
  // Several are the automatic ones, among which the measured outputs decide.
  if (options.activation_algorithms.size() != 1) return absl::OkStatus();
  return CheckClipping(options.activation_algorithms[0], options.force_clipping, "quantization.");
}

}  // namespace

bool TakesRangesByToken(const QuantizeOptions& options, Recipe recipe) {
  using Timing = QuantizeOptions::Timing;
  return options.timing == Timing::kDynamic ||
         (options.timing == Timing::kAuto && TakesRangesByToken(recipe));
}

Precision PrecisionOf(LayerMode mode, bool dynamic) {
  switch (mode) {
    case LayerMode::kBFloat16:
      return Precision::kBFloat16;
    case LayerMode::kInt8:
      return dynamic ? Precision::kInt8Dynamic : Precision::kInt8;
    case LayerMode::kInt4:
      return dynamic ? Precision::kInt4Dynamic : Precision::kInt4;
    default:
      return Precision::kFloat32;
  }
}

namespace {

// `reason` says why it is not the model's own.
LayerMode ModeOf(const graph::Graph& graph, NodeId id, LayerMode mode, const LayerRule* rule,
                 std::string& reason, std::vector<std::string>& warnings) {
  if (rule != nullptr && rule->mode) {
    const ResolvedMode resolved = Resolve(*rule->mode, ThisProcessor());
    for (const std::string& warning : resolved.warnings) {
      warnings.push_back(absl::StrCat(warning, " (layer ", graph.node(id).name, ")"));
    }
    reason = "configured";
    return resolved.mode;
  }
  if (mode != LayerMode::kInt4) return mode;
  reason = WhyNotFourBits(graph, id);
  return reason.empty() ? mode : LayerMode::kInt8;
}

}  // namespace

absl::StatusOr<LayerList> ListLayers(const graph::Graph& graph,
                                     std::span<const Shape> example_shapes,
                                     const QuantizeOptions& options, Recipe recipe,
                                     bool has_samples) {
  if (IsInteger(options.mode)) OCTET_RETURN_IF_ERROR(CheckClipping(options, recipe));
  LayerList list;
  OCTET_ASSIGN_OR_RETURN(list.nodes, quant::QuantizableLayers(graph));
  OCTET_ASSIGN_OR_RETURN(const graph::Inference inference, graph::Infer(graph, example_shapes));
  for (const NodeId id : list.nodes) {
    const graph::Node& node = graph.node(id);
    const Shape& weight = graph.value(node.inputs[1]).type.shape;
    const int axis = quant::WeightAxis(node, weight);
    const Shape& output = inference.types[static_cast<size_t>(node.outputs[0])].shape;
    LayerReport layer{.node = node.name,
                      .op = node.op,
                      .weight_shape = weight,
                      .macs = ElementCount(output) * (ElementCount(weight) / weight[axis])};
    const LayerRule* rule = list.rules.emplace_back(RuleFor(options.layers, node, weight));
    if (rule != nullptr) OCTET_RETURN_IF_ERROR(CheckRowRanges(node, *rule));
    const LayerMode mode = ModeOf(graph, id, options.mode, rule, layer.reason, list.warnings);
    bool dynamic = !has_samples || IsDynamic(node, options, recipe);
    if (rule != nullptr && rule->dynamic) {
      dynamic = *rule->dynamic;
      if (!dynamic && !has_samples) return StaticWithoutSamples(node, *rule);
    }
    layer.precision = PrecisionOf(mode, dynamic);
    list.reports.push_back(std::move(layer));
  }
  if (list.nodes.empty()) list.warnings.push_back("the model has no layer to quantize");
  for (std::string& warning : RulesWithoutLayers(options.layers, graph, list.nodes)) {
    if (options.strict) return absl::InvalidArgumentError(warning);
    list.warnings.push_back(std::move(warning));
  }
  return list;
}

bool AnyFourBits(const std::vector<LayerReport>& layers) {
  return std::any_of(layers.begin(), layers.end(), [](const LayerReport& layer) {
    return quant::HasFourBitWeights(layer.precision);
  });
}

std::vector<std::string> FourBitWarnings(const std::vector<LayerReport>& layers,
                                         const QuantizeOptions& options, bool calibrated) {
  std::vector<std::string> warnings;
  if (!AnyFourBits(layers)) {
    if (options.mode == LayerMode::kInt4) {
      warnings.push_back("int4: the model has no layer that 4 bits are for, all are int8");
    }
    return warnings;
  }
  using Compensation = QuantizeOptions::Compensation;
  if (options.compensation == Compensation::kGptq && !calibrated) {
    warnings.push_back(
        "error_compensation gptq needs calibration data, and there is none: 4-bit weights are "
        "rounded without it");
  }
  int64_t weights = 0;
  for (const LayerReport& layer : layers) weights += ElementCount(layer.weight_shape);
  if (!options.target_is_set && weights < kManyWeights) {
    warnings.push_back(absl::StrCat(
        "int4 without accuracy.target: networks of fewer than 300 million weights (this one has ",
        weights, ") lose visibly in 4 bits; with a target, layers go back to 8 until it holds"));
  }
  return warnings;
}

std::string LeftOutWithoutSamples(const QuantizeReport& report, const QuantizeOptions& options) {
  using Smoothing = QuantizeOptions::Smoothing;
  std::vector<std::string> missing;
  const Recipe recipe = report.recipe.recipe;
  if (options.smoothing == Smoothing::kOn ||
      (options.smoothing == Smoothing::kAuto &&
       (SmoothsActivations(recipe) || EqualizesChannels(recipe)))) {
    missing.push_back("smoothing (transforms.smooth_quant)");
  }
  if (WantsEqualization(options)) {
    missing.push_back("equalization (transforms.cross_layer_equalization)");
  }
  if (options.bias_correction != QuantizeOptions::BiasCorrection::kOff) {
    missing.push_back("bias correction (transforms.bias_correction)");
  }
  if (options.compensation != QuantizeOptions::Compensation::kNone) {
    missing.push_back("error feedback of weights (weights.error_compensation)");
  }
  if (options.weighting == QuantizeOptions::Weighting::kActivation) {
    missing.push_back("weighting of errors (weights.weighting)");
  }
  if (missing.empty()) return "";
  return absl::StrCat("calibrated by statistics, without samples: left out are ",
                      absl::StrJoin(missing, ", "));
}

std::string WhyNotFourBits(const graph::Graph& graph, NodeId layer) {
  const graph::Node& node = graph.node(layer);
  const Shape& weight = graph.value(node.inputs[1]).type.shape;
  if (node.op == "Conv") {
    if (node.Int("group", 1) != 1) return "8 bits: a convolution in groups";
    if (std::any_of(weight.begin() + 2, weight.end(), [](int64_t dim) { return dim != 1; })) {
      return "8 bits: a convolution of several pixels";
    }
  } else if (graph.NodesOfType("Conv").empty()) {
    return "";
  }
  const int64_t depth = ElementCount(weight) / weight[quant::WeightAxis(node, weight)];
  if (depth >= kLeastDepthAmongConvolutions) return "";
  return absl::StrCat("8 bits: ", depth, " inputs, 4 bits are for ", kLeastDepthAmongConvolutions,
                      " and more in networks with convolutions");
}

bool AnyInt8(const std::vector<Precision>& precisions) {
  return std::any_of(precisions.begin(), precisions.end(),
                     [](Precision precision) { return IsInt8(precision); });
}

void FillShares(QuantizeReport& report) {
  int64_t total = 0, int8 = 0, bfloat16 = 0;
  for (const LayerReport& layer : report.layers) {
    total += layer.macs;
    if (IsInt8(layer.precision)) int8 += layer.macs;
    if (layer.precision == Precision::kBFloat16) bfloat16 += layer.macs;
  }
  if (total == 0) return;
  report.int8_mac_share = static_cast<double>(int8) / static_cast<double>(total);
  report.bfloat16_mac_share = static_cast<double>(bfloat16) / static_cast<double>(total);
}

QuantizeOptions::Decisions DecisionsOf(const QuantizeReport& report) {
  QuantizeOptions::Decisions decisions{.activation_algorithm = report.activation_algorithm,
                                       .bias_correction = report.bias_correction,
                                       .precisions = {}};
  for (const LayerReport& layer : report.layers) decisions.precisions.push_back(layer.precision);
  return decisions;
}

}  // namespace octet::runtime
