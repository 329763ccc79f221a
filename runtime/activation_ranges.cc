#include "runtime/activation_ranges.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "quant/range_estimator.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {

using graph::ValueId;

namespace {

constexpr int32_t kMiddle = 128;  // of uint8 codes

std::string SchemeName(bool symmetric) { return symmetric ? "symmetric" : "asymmetric"; }

// Q017 if there is another in common already.
template <typename Describe>
absl::Status Agree(const std::optional<std::string>& wanted, const Describe& describe,
                   std::optional<std::string>& common) {
  if (common && wanted && *common != *wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("Q017: quantization.layers: ", describe(*common, *wanted)));
  }
  if (wanted) common = wanted;
  return absl::OkStatus();
}

}  // namespace

absl::Status ActivationRanges::Observe(const graph::Graph& graph, const quant::Selection& widest,
                                       Samples samples, Resources resources, const Watch& also) {
  std::vector<ValueId> values;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    if (widest.quantizer[i] >= 0) values.push_back(static_cast<ValueId>(i));
  }
  OCTET_ASSIGN_OR_RETURN(std::vector<quant::Histogram> histograms,
                         runtime::Observe(graph, values, samples, resources, also));
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

absl::Status ActivationRanges::Override(ValueId value, const LayerRule& rule) {
  const auto describe = [](const std::string& one, const std::string& other) {
    return absl::StrCat("layers that read the same value choose its range by ", one, " and by ",
                        other);
  };
  Wish& wish = wishes_[value];
  OCTET_RETURN_IF_ERROR(Agree(rule.activation_algorithm, describe, wish.algorithm));
  std::optional<std::string> scheme;
  if (rule.symmetric) scheme = SchemeName(*rule.symmetric);
  return Agree(scheme, describe, wish.scheme);
}

absl::StatusOr<ActivationRanges::Choice> ActivationRanges::ChoiceFor(
    const Group& group, const std::string& algorithm) const {
  const auto describe = [&](const std::string& one, const std::string& other) {
    const auto name = [this](std::string* out, ValueId member) {
      absl::StrAppend(out, names_.at(member));
    };
    return absl::StrCat("one quantizer is to be chosen by ", one, " and by ", other,
                        ", since these values share it: ", absl::StrJoin(group, ", ", name));
  };
  Wish common;
  for (const ValueId value : group) {
    const auto found = wishes_.find(value);
    if (found == wishes_.end()) continue;
    OCTET_RETURN_IF_ERROR(Agree(found->second.algorithm, describe, common.algorithm));
    OCTET_RETURN_IF_ERROR(Agree(found->second.scheme, describe, common.scheme));
  }
  return Choice{common.algorithm.value_or(algorithm),
                common.scheme.value_or(SchemeName(options_.symmetric_activations))};
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
    OCTET_ASSIGN_OR_RETURN(Choice choice, ChoiceFor(group, algorithm));
    auto key = std::make_pair(std::move(choice), std::move(group));
    auto known = known_.find(key);
    if (known == known_.end()) {
      OCTET_ASSIGN_OR_RETURN(quant::ValueQuantizer estimated, Estimate(key.second, key.first));
      known = known_.emplace(std::move(key), std::move(estimated)).first;
    }
    quantizers.push_back(known->second);
  }
  return quantizers;
}

absl::StatusOr<quant::ValueQuantizer> ActivationRanges::Estimate(const Group& group,
                                                                 const Choice& choice) const {
  OCTET_ASSIGN_OR_RETURN(const quant::RangeEstimator estimator,
                         quant::FindRangeEstimator(choice.algorithm));
  quant::Histogram merged;
  for (const ValueId value : group) merged.Merge(histograms_.at(value));
  OCTET_ASSIGN_OR_RETURN(const quant::Distribution values, quant::Distribution::Of(merged));
  // Codes without a sign use all of them where nothing is negative.
  const bool centered = choice.scheme == SchemeName(true) && values.min() < 0;
  const quant::Grid& grid = centered ? quant::kSymmetricInt8 : quant::kAsymmetricUint8;
  OCTET_ASSIGN_OR_RETURN(const quant::RangeEstimate estimate,
                         estimator.estimate(values, grid, options_.estimation));
  quant::Affine affine = quant::AffineFor(estimate.range, grid);
  if (centered) affine.zero_point = kMiddle;
  return quant::ValueQuantizer{DataType::kUint8, quant::ToQuantParams(affine)};
}

}  // namespace octet::runtime
