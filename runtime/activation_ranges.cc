#include "runtime/activation_ranges.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
    names_.emplace(values[i], graph.value(values[i]).name);
  }
  return absl::OkStatus();
}

absl::Status ActivationRanges::Take(const graph::Graph& graph, const quant::Selection& widest,
                                    const CalibrationStatistics& statistics) {
  for (size_t i = 0; i < graph.value_count(); ++i) {
    if (widest.quantizer[i] < 0) continue;
    const auto value = static_cast<ValueId>(i);
    const auto found = statistics.values.find(value);
    if (found == statistics.values.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the calibration statistics have nothing of ", graph.value(value).name));
    }
    histograms_.emplace(value, found->second);
    names_.emplace(value, graph.value(value).name);
  }
  return absl::OkStatus();
}

const quant::Histogram* ActivationRanges::Find(ValueId value) const {
  const auto found = histograms_.find(value);
  return found == histograms_.end() ? nullptr : &found->second;
}

absl::Status ActivationRanges::Override(ValueId value, const std::string& algorithm) {
  const auto [known, added] = overrides_.emplace(value, algorithm);
  if (added || known->second == algorithm) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "Q017: quantization.layers: layers that read the same value choose its range by ",
      known->second, " and by ", algorithm));
}

absl::StatusOr<std::string> ActivationRanges::AlgorithmFor(const Group& group,
                                                           const std::string& otherwise) const {
  const std::string* chosen = nullptr;
  for (const ValueId value : group) {
    const auto found = overrides_.find(value);
    if (found == overrides_.end()) continue;
    if (chosen != nullptr && *chosen != found->second) {
      return absl::InvalidArgumentError(
          absl::StrCat("Q017: quantization.layers: one quantizer is to be chosen by ", *chosen,
                       " and by ", found->second, ", since these values share it: ",
                       absl::StrJoin(group, ", ", [this](std::string* out, ValueId member) {
                         absl::StrAppend(out, names_.at(member));
                       })));
    }
    chosen = &found->second;
  }
  return chosen == nullptr ? otherwise : *chosen;
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
    OCTET_ASSIGN_OR_RETURN(std::string name, AlgorithmFor(group, algorithm));
    auto key = std::make_pair(std::move(name), std::move(group));
    auto known = known_.find(key);
    if (known == known_.end()) {
      OCTET_ASSIGN_OR_RETURN(quant::ValueQuantizer estimated, Estimate(key.second, key.first));
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
