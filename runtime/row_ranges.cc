#include "runtime/row_ranges.h"

#include "absl/strings/str_cat.h"
#include "kernels/dynamic_product.h"

namespace octet::runtime {

void MarkRowRanges(const QuantizeOptions& options, const quant::LayerPrecisions& layers,
                   graph::Graph& quantized) {
  for (const auto& [id, precision] : layers) {
    const bool dynamic =
        precision == quant::Precision::kInt8Dynamic || precision == quant::Precision::kInt4Dynamic;
    graph::Node& node = quantized.mutable_node(id);
    if (!dynamic || node.op == "Conv") continue;
    const LayerRule* const rule =
        RuleFor(options.layers, node, quantized.value(node.inputs[1]).type.shape);
    const bool symmetric =
        rule != nullptr && rule->symmetric ? *rule->symmetric : options.symmetric_activations;
    const bool by_token =
        rule != nullptr && rule->by_token ? *rule->by_token : options.ranges_by_token;
    if (symmetric) node.attributes[kernels::kSignedRows] = int64_t{1};
    if (!by_token) node.attributes[kernels::kRangePerSample] = int64_t{1};
  }
}

absl::Status CheckRowRanges(const graph::Node& layer, const LayerRule& rule) {
  if (!rule.by_token.value_or(false) || layer.op != "Conv") return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "Q007: layer ", layer.name, ": quantization.layers: match '", rule.match,
      "' asks for activations.granularity per_token, which is for MatMul and Gemm, not Conv"));
}

}  // namespace octet::runtime
