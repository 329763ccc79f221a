#include "runtime/layer_rules.h"

#include <fnmatch.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace octet::runtime {
namespace {

using quant::Precision;

constexpr absl::string_view kOperatorPrefix = "op:";
constexpr absl::string_view kDepthwise = "[group=in_channels]";

bool IsGlobOf(absl::string_view glob, const std::string& text) {
  return fnmatch(std::string(glob).c_str(), text.c_str(), 0) == 0;
}

// Groups of one channel each, and more than one of them.
bool IsDepthwise(const graph::Node& node, const Shape& weight) {
  return node.op == "Conv" && node.Int("group", 1) > 1 && weight.size() > 1 && weight[1] == 1;
}

bool Matches(const LayerRule& rule, const graph::Node& node, const Shape& weight) {
  absl::string_view match = rule.match;
  if (!absl::ConsumePrefix(&match, kOperatorPrefix)) return IsGlobOf(match, node.name);
  if (absl::ConsumeSuffix(&match, kDepthwise) && !IsDepthwise(node, weight)) return false;
  return IsGlobOf(match, node.op);
}

const Shape& WeightShape(const graph::Graph& graph, graph::NodeId layer) {
  return graph.value(graph.node(layer).inputs[1]).type.shape;
}

}  // namespace

const LayerRule* RuleFor(const std::vector<LayerRule>& rules, const graph::Node& node,
                         const Shape& weight) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const LayerRule& rule) {
    return Matches(rule, node, weight);
  });
  return found == rules.end() ? nullptr : &*found;
}

std::vector<std::string> RulesWithoutLayers(const std::vector<LayerRule>& rules,
                                            const graph::Graph& graph,
                                            const std::vector<graph::NodeId>& layers) {
  std::vector<std::string> warnings;
  for (const LayerRule& rule : rules) {
    const bool matches = std::any_of(layers.begin(), layers.end(), [&](graph::NodeId layer) {
      return Matches(rule, graph.node(layer), WeightShape(graph, layer));
    });
    if (matches) continue;
    warnings.push_back(absl::StrCat("Q016: quantization.layers: match '", rule.match,
                                    "' matches no convolution or matrix product with constant "
                                    "weights"));
  }
  return warnings;
}

bool AnyWantsSamples(const std::vector<LayerRule>& rules) {
  return std::any_of(rules.begin(), rules.end(), [](const LayerRule& rule) {
    return rule.dynamic.has_value() && !*rule.dynamic;
  });
}

bool Quantizes(Mode mode, const std::vector<LayerRule>& rules) {
  return mode != Mode::kFloat32 ||
         std::any_of(rules.begin(), rules.end(), [](const LayerRule& rule) {
           return rule.mode && *rule.mode != Mode::kFloat32;
         });
}

LayerRule RuleForName(absl::string_view name, Mode mode) {
  std::string glob;
  for (const char c : name) {
    const bool special = c == '*' || c == '?' || c == '[' || c == '\\';
    if (special || (glob.empty() && absl::StartsWith(name, kOperatorPrefix))) glob += '\\';
    glob += c;
  }
  return {.match = std::move(glob), .mode = mode};
}

std::vector<Precision> LadderOf(Precision start, absl::string_view op, Fallback fallback,
                                bool bfloat16) {
  std::vector<Precision> ladder = {start};
  if (start == Precision::kFloat32) return ladder;
  if (HasFourBitWeights(start)) {
    ladder.push_back(start == Precision::kInt4Dynamic ? Precision::kInt8Dynamic : Precision::kInt8);
  }
  if (ladder.back() == Precision::kInt8 && op != "Conv") {
    ladder.push_back(Precision::kInt8Dynamic);
  }
  const bool takes_bfloat16 = bfloat16 && fallback != Fallback::kFloat32;
  if (takes_bfloat16 && start != Precision::kBFloat16) ladder.push_back(Precision::kBFloat16);
  if (!takes_bfloat16 || fallback == Fallback::kAuto) ladder.push_back(Precision::kFloat32);
  return ladder;
}

}  // namespace octet::runtime
