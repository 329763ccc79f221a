#include "runtime/activation_ranges.h"

#include "base/status.h"
#include "quant/range_estimator.h"

namespace octet::runtime {

using graph::ValueId;

absl::Status ActivationRanges::Observe(const graph::Graph& graph, const quant::Selection& widest,
                                       Samples samples, kernels::WeightCache& weights) {
  std::vector<ValueId> values;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    if (widest.quantizer[i] >= 0) values.push_back(static_cast<ValueId>(i));
  }
  OCTET_ASSIGN_OR_RETURN(std::vector<quant::Histogram> histograms,
                         runtime::Observe(graph, values, samples, weights));
  for (size_t i = 0; i < histograms.size(); ++i) {
    histograms_.emplace(values[i], std::move(histograms[i]));
  }
  return absl::OkStatus();
}

const quant::Histogram* ActivationRanges::Find(ValueId value) const {
  const auto found = histograms_.find(value);
  return found == histograms_.end() ? nullptr : &found->second;
}

absl::StatusOr<std::vector<quant::ValueQuantizer>> ActivationRanges::Quantizers(
    const quant::Selection& selection, const std::string& algorithm) {
  std::vector<Group> groups(static_cast<size_t>(selection.quantizer_count));
  for (const auto& [value, histogram] : histograms_) {
    const int index = selection.quantizer[static_cast<size_t>(value)];
    if (index >= 0) groups[static_cast<size_t>(index)].push_back(value);
  }
  std::vector<quant::ValueQuantizer> quantizers;
  for (Group& group : groups) {
    auto key = std::make_pair(algorithm, std::move(group));
    auto known = known_.find(key);
    if (known == known_.end()) {
      OCTET_ASSIGN_OR_RETURN(quant::ValueQuantizer estimated, Estimate(key.second, algorithm));
      known = known_.emplace(std::move(key), std::move(estimated)).first;
    }
    quantizers.push_back(known->second);
  }
  return quantizers;
}

absl::StatusOr<quant::ValueQuantizer> ActivationRanges::Estimate(
    const Group& group, const std::string& algorithm) const {
  OCTET_ASSIGN_OR_RETURN(const quant::RangeEstimator estimator,
                         quant::FindRangeEstimator(algorithm));
  quant::Histogram merged;
  for (const ValueId value : group) merged.Merge(histograms_.at(value));
  OCTET_ASSIGN_OR_RETURN(const quant::Distribution values, quant::Distribution::Of(merged));
  OCTET_ASSIGN_OR_RETURN(
      const quant::RangeEstimate estimate,
      estimator.estimate(values, quant::kAsymmetricUint8, {.percentile = percentile_}));
  return quant::ValueQuantizer{DataType::kUint8, quant::ToQuantParams(quant::AffineFor(
                                                     estimate.range, quant::kAsymmetricUint8))};
}

}  // namespace octet::runtime
