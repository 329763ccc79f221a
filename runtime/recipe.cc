#include "runtime/recipe.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/infer.h"
#include "quant/selection.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;

constexpr int kLeastDepthwise = 3;
constexpr int kLeastAttention = 2;
constexpr int kLeastNormalizations = 2;

bool MultipliesActivations(const Graph& graph, const graph::Node& node) {
  return node.op == "MatMul" && !graph.IsConstant(node.inputs[0]) &&
         !graph.IsConstant(node.inputs[1]);
}

// Softmax whose result is multiplied with activations, perhaps after an operator that moves data.
bool IsAttention(const Graph& graph, const graph::Node& softmax) {
  std::vector<ValueId> values = {softmax.outputs[0]};
  for (const NodeId reader : graph.value(softmax.outputs[0]).consumers) {
    values.push_back(graph.node(reader).outputs[0]);
  }
  return std::any_of(values.begin(), values.end(), [&](ValueId value) {
    const auto& readers = graph.value(value).consumers;
    return std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
      return MultipliesActivations(graph, graph.node(reader));
    });
  });
}

struct Counts {
  int depthwise = 0, attention = 0, normalizations = 0, recurrent = 0;
  double convolution_macs = 0, product_macs = 0;

  double ConvolutionShare() const {
    const double all = convolution_macs + product_macs;
    return all > 0 ? convolution_macs / all : 0;
  }
};

double Macs(const Graph& graph, const graph::Node& layer, const Shape& output) {
  const Shape& weight = graph.value(layer.inputs[1]).type.shape;
  const auto axis = static_cast<size_t>(quant::WeightAxis(layer, weight));
  const int64_t inputs = ElementCount(weight) / std::max<int64_t>(weight[axis], 1);
  return static_cast<double>(ElementCount(output)) * static_cast<double>(inputs);
}

absl::StatusOr<Counts> Count(const Graph& graph, std::span<const Shape> example_shapes) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<NodeId> layers, quant::QuantizableLayers(graph));
  OCTET_ASSIGN_OR_RETURN(const graph::Inference inference, graph::Infer(graph, example_shapes));
  Counts counts;
  for (const NodeId id : layers) {
    const graph::Node& layer = graph.node(id);
    const double macs =
        Macs(graph, layer, inference.types[static_cast<size_t>(layer.outputs[0])].shape);
    (layer.op == "Conv" ? counts.convolution_macs : counts.product_macs) += macs;
    const bool depthwise = layer.op == "Conv" && layer.Int("group", 1) > 1 &&
                           graph.value(layer.inputs[1]).type.shape[1] == 1;
    counts.depthwise += depthwise ? 1 : 0;
  }
  for (const NodeId id : graph.Nodes()) {
    const graph::Node& node = graph.node(id);
    if (node.op == "Softmax" && IsAttention(graph, node)) ++counts.attention;
    if (node.op == "LayerNormalization" || node.op == "RMSNormalization") ++counts.normalizations;
    if (node.op == "LSTM" || node.op == "GRU" || node.op == "RNN") ++counts.recurrent;
  }
  return counts;
}

}  // namespace

absl::string_view Name(Recipe recipe) {
  switch (recipe) {
    case Recipe::kCnn:
      return "cnn";
    case Recipe::kMobileCnn:
      return "mobile_cnn";
    case Recipe::kTransformer:
      return "transformer";
    case Recipe::kRnn:
      return "rnn";
    case Recipe::kMlp:
      return "mlp";
    default:
      return "none";
  }
}

absl::StatusOr<RecipeChoice> DetectRecipe(const Graph& graph,
                                          std::span<const Shape> example_shapes) {
  OCTET_ASSIGN_OR_RETURN(const Counts counts, Count(graph, example_shapes));
  if (counts.recurrent > 0) {
    return RecipeChoice{Recipe::kRnn, absl::StrFormat("%d recurrent nodes", counts.recurrent)};
  }
  const double share = 100 * counts.ConvolutionShare();
  if (share > 50) {
    const bool mobile = counts.depthwise >= kLeastDepthwise;
    return RecipeChoice{mobile ? Recipe::kMobileCnn : Recipe::kCnn,
                        absl::StrFormat("%.0f %% of the work in convolutions, %d depthwise", share,
                                        counts.depthwise)};
  }
  if (counts.product_macs == 0) return RecipeChoice{Recipe::kNone, "no layer to quantize"};
  const std::string products =
      absl::StrFormat("%.0f %% of the work in matrix products", 100 - share);
  if (counts.attention >= kLeastAttention || counts.normalizations >= kLeastNormalizations) {
    return RecipeChoice{Recipe::kTransformer,
                        absl::StrFormat("%d attention products, %d normalizations, %s",
                                        counts.attention, counts.normalizations, products)};
  }
  return RecipeChoice{Recipe::kMlp, products};
}

absl::StatusOr<RecipeChoice> ChooseRecipe(const Graph& graph, std::span<const Shape> example_shapes,
                                          std::optional<Recipe> configured) {
  if (configured) return RecipeChoice{*configured, "configured"};
  return DetectRecipe(graph, example_shapes);
}

}  // namespace octet::runtime
