#include "runtime/collect_details.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "quant/distribution.h"
#include "quant/measures.h"
#include "quant/range_estimator.h"
#include "quant/weights.h"

namespace octet::runtime {
namespace {

using graph::NodeId;
using graph::ValueId;
using quant::Grid;
using quant::Histogram;

const Grid& GridOf(DataType dtype) {
  return dtype == DataType::kInt8 ? quant::kSymmetricInt8 : quant::kAsymmetricUint8;
}

double SqnrOn(const Histogram& histogram, const quant::Distribution& values, quant::Range range,
              const Grid& grid) {
  return quant::Sqnr(histogram.SumSquares(), values.SquaredError(range, grid));
}

// Nothing if the weights cannot be quantized so, e.g. for a NaN in them.
std::optional<double> WeightSqnrDb(const Tensor& weight, absl::string_view estimator,
                                   std::optional<int> axis, const DetailsSource& source) {
  quant::WeightOptions options{.estimator = estimator,
                               .grid = EightBitGrid(source.options),
                               .axis = axis,
                               .zero_non_finite = source.options.zero_non_finite};
  options.estimator_options = source.options.estimation;
  const absl::StatusOr<quant::QuantizedWeights> quantized =
      quant::QuantizeWeights(weight.view(), options);
  if (!quantized.ok()) return std::nullopt;
  return quantized->sqnr_db;
}

WeightDetails DetailsOfWeights(const DetailsSource& source, const graph::Node& node,
                               quant::Precision precision) {
  const Tensor& weight = *source.graph.value(node.inputs[1]).constant;
  const Grid grid = EightBitGrid(source.options);
  WeightDetails details{.histogram = HistogramOf(weight.As<float>()),
                        .dtype = absl::AsciiStrToLower(Name(grid.type)),
                        .last_code = grid.last,
                        .algorithm = source.options.weight_algorithm};
  // 4-bit weights have no one grid to show: groups, or tables of levels.
  const quant::WeightsById& known = source.weights.eight_bits();
  const auto found = known.find(weight.id());
  if (found != known.end() && !quant::HasFourBitWeights(precision)) {
    const quant::QuantizedWeights& quantized = found->second;
    const std::vector<float>& scales = quantized.params.scales;
    details.scales = scales.size();
    details.per_channel = quantized.params.axis.has_value();
    if (!scales.empty()) {
      const auto [smallest, largest] = std::minmax_element(scales.begin(), scales.end());
      details.smallest_scale = *smallest;
      details.largest_scale = *largest;
    }
    const std::vector<float>& channels = quantized.channel_sqnr_db;
    if (!channels.empty()) {
      details.worst_channel_sqnr_db = *std::min_element(channels.begin(), channels.end());
    }
    details.dead_channels = quantized.dead_channels.size();
  }
  const int axis = quant::WeightAxis(node, weight.shape());
  for (const quant::RangeEstimator& estimator : quant::RangeEstimators()) {
    if (estimator.name == "mean_min_max") continue;  // of samples, which weights have not
    details.algorithms.push_back(
        {.name = std::string(estimator.name),
         .per_tensor_sqnr_db = WeightSqnrDb(weight, estimator.name, std::nullopt, source),
         .per_channel_sqnr_db = WeightSqnrDb(weight, estimator.name, axis, source)});
  }
  return details;
}

absl::StatusOr<std::optional<ActivationDetails>> DetailsOfActivations(
    const DetailsSource& source, ValueId input, const quant::ValueQuantizer* quantizer) {
  const Histogram* histogram = source.ranges.Find(input);
  if (histogram == nullptr || histogram->count() == 0) return std::nullopt;
  OCTET_ASSIGN_OR_RETURN(const quant::Distribution values, quant::Distribution::Of(*histogram));
  ActivationDetails details{.histogram = Fold(*histogram),
                            .observed_min = histogram->min(),
                            .observed_max = histogram->max(),
                            .values = histogram->count()};
  const Grid& grid = GridOf(quantizer ? quantizer->dtype : DataType::kUint8);
  if (quantizer != nullptr) {
    const graph::QuantParams& params = quantizer->params;
    const quant::Affine affine{params.scales.at(0),
                               params.zero_points.empty() ? 0 : params.zero_points.at(0)};
    const quant::Range range = quant::RangeOf(affine, grid);
    details.served = {.dtype = quantizer->dtype,
                      .affine = affine,
                      .range = range,
                      .sqnr_db = SqnrOn(*histogram, values, range, grid),
                      .clipped_share = ClippedShare(*histogram, range, grid)};
  }
  for (const quant::RangeEstimator& estimator : quant::RangeEstimators()) {
    OCTET_ASSIGN_OR_RETURN(const quant::RangeEstimate estimate,
                           estimator.estimate(values, grid, source.options.estimation));
    details.algorithms.push_back({.name = std::string(estimator.name),
                                  .range = estimate.range,
                                  .sqnr_db = SqnrOn(*histogram, values, estimate.range, grid),
                                  .clipped_share = ClippedShare(*histogram, estimate.range, grid),
                                  .fell_back = estimate.fell_back});
  }
  return details;
}

}  // namespace

double ClippedShare(const Histogram& histogram, quant::Range range, const Grid& grid) {
  if (histogram.count() == 0) return 0;
  const double half_step = (static_cast<double>(range.high) - range.low) / grid.steps() / 2;
  const double low = range.low - half_step, high = range.high + half_step;
  uint64_t clipped = 0;
  for (size_t i = 0; i < histogram.bins().size(); ++i) {
    const uint64_t count = histogram.bins()[i];
    if (count == 0) continue;
    const double middle =
        (static_cast<double>(histogram.first_bin()) + static_cast<double>(i) + 0.5) *
        histogram.bin_width();
    if (middle < low || middle > high) clipped += count;
  }
  return static_cast<double>(clipped) / static_cast<double>(histogram.count());
}

FoldedHistogram Fold(const Histogram& histogram) {
  FoldedHistogram folded{.zeros = histogram.zeros()};
  const std::span<const uint64_t> bins = histogram.bins();
  const auto seen = [](uint64_t count) { return count > 0; };
  const auto first = std::find_if(bins.begin(), bins.end(), seen);
  if (first == bins.end()) return folded;
  const auto last = std::find_if(bins.rbegin(), bins.rend(), seen).base();
  const auto used = static_cast<size_t>(last - first);
  const size_t joined = (used + FoldedHistogram::kMostBins - 1) / FoldedHistogram::kMostBins;
  folded.low =
      static_cast<double>(histogram.first_bin() + (first - bins.begin())) * histogram.bin_width();
  folded.bin_width = static_cast<double>(joined) * histogram.bin_width();
  folded.counts.resize((used + joined - 1) / joined);
  for (size_t i = 0; i < used; ++i) folded.counts[i / joined] += first[static_cast<ptrdiff_t>(i)];
  return folded;
}

FoldedHistogram HistogramOf(std::span<const float> values) {
  FoldedHistogram folded;
  float low = HUGE_VALF, high = -HUGE_VALF;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) return folded;
  folded.low = low;
  const double span = static_cast<double>(high) - low;
  folded.bin_width = span > 0 ? span / FoldedHistogram::kMostBins : 1;
  folded.counts.resize(span > 0 ? FoldedHistogram::kMostBins : 1);
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const auto bin = static_cast<size_t>((static_cast<double>(value) - low) / folded.bin_width);
    ++folded.counts[std::min(bin, folded.counts.size() - 1)];
  }
  return folded;
}

absl::StatusOr<std::vector<LayerDetails>> CollectDetails(const DetailsSource& source) {
  quant::LayerPrecisions precisions;
  for (size_t i = 0; i < source.layers.size(); ++i) {
    precisions[source.layers[i]] = source.report.layers[i].precision;
  }
  OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, quant::Select(source.graph, precisions));
  std::vector<quant::ValueQuantizer> quantizers;
  if (selection.quantizer_count > 0) {
    OCTET_ASSIGN_OR_RETURN(quantizers,
                           source.ranges.Quantizers(selection, source.report.activation_algorithm));
  }
  std::vector<LayerDetails> layers;
  for (const NodeId id : source.layers) {
    const graph::Node& node = source.graph.node(id);
    if (source.options.progress) source.options.progress("compare algorithms", node.name);
    const ValueId input = node.inputs[0];
    const int index = selection.quantizer[static_cast<size_t>(input)];
    const bool reads_codes = index >= 0 && selection.ReadsCodes(source.graph, id, 0);
    LayerDetails layer{.weights = DetailsOfWeights(source, node, precisions.at(id))};
    OCTET_ASSIGN_OR_RETURN(
        layer.activations,
        DetailsOfActivations(source, input,
                             reads_codes ? &quantizers[static_cast<size_t>(index)] : nullptr));
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace octet::runtime
