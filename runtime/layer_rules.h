// What a user decides for single layers, and the precisions that this leaves to them.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "quant/selection.h"
#include "runtime/mode.h"

namespace octet::runtime {

// What is not set is as for the rest of the model.
struct LayerRule {
  // A glob on the node's name; or "op:" and a glob on its operator, behind which
  // "[group=in_channels]" leaves only depthwise convolutions.
  std::string match;
  std::optional<Mode> mode;  // decided: the layer stays in it, whatever it costs. Not kAuto
  // In int8: names of range estimators (quant/range_estimator.h), one scale for each output channel
  // or one in all, ranges of activations measured at run time or from calibration.
  std::optional<std::string> weight_algorithm;
  std::optional<bool> per_channel;
  std::optional<std::string> activation_algorithm;
  bool force_clipping = false;  // as QuantizeOptions::force_clipping, of this algorithm
  std::optional<bool> dynamic;
  std::optional<bool> symmetric;  // as QuantizeOptions::symmetric_activations
  std::optional<bool> by_token;   // as QuantizeOptions::ranges_by_token; true: not of convolutions
};

// The first rule that matches; null if none does.
const LayerRule* RuleFor(const std::vector<LayerRule>& rules, const graph::Node& node,
                         const Shape& weight);

// Warnings (Q016), one for each rule that matches none of these layers of the graph.
std::vector<std::string> RulesWithoutLayers(const std::vector<LayerRule>& rules,
                                            const graph::Graph& graph,
                                            const std::vector<graph::NodeId>& layers);

// Whether any of them asks for ranges from calibration.
bool AnyWantsSamples(const std::vector<LayerRule>& rules);

// Whether the mode or a rule changes any layer.
bool Quantizes(Mode mode, const std::vector<LayerRule>& rules);

// A rule for the node of exactly this name.
LayerRule RuleForName(absl::string_view name, Mode mode);

// What layers get that leave int8 for the sake of accuracy.
enum class Fallback : uint8_t {
  kAuto,  // float32, and bfloat16 instead where that is native and the target goes on holding
  kBFloat16,
  kFloat32,
};

// The precisions that a layer may have which starts with `start`, upwards: from 4 bits to 8. Matrix
// products may take their ranges token by token, which stays int8; convolutions not, since sample
// by sample is slow. Without `bfloat16` none is that.
std::vector<quant::Precision> LadderOf(quant::Precision start, absl::string_view op,
                                       Fallback fallback, bool bfloat16);

}  // namespace octet::runtime
