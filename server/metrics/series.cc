#include "server/metrics/series.h"

#include <utility>

namespace octet::server {

void SetIf(prometheus::Family<prometheus::Gauge>& family, const prometheus::Labels& labels,
           std::optional<double> value, prometheus::Gauge*& gauge) {
  if (value && gauge == nullptr) gauge = &family.Add(labels);
  if (value) gauge->Set(*value);
  if (!value && gauge != nullptr) family.Remove(std::exchange(gauge, nullptr));
}

ShadowFamilies::ShadowFamilies(prometheus::Registry& registry)
    : requests(CounterFamily(registry, kShadowRequests)),
      sqnr(GaugeFamily(registry, kShadowSqnr)),
      agreement(GaugeFamily(registry, kShadowAgreement)),
      clip_ratio(GaugeFamily(registry, kShadowClipRatio)) {}

ShadowSeries::ShadowSeries(ShadowFamilies& families,
                           prometheus::Family<prometheus::Gauge>& weight_bytes,
                           const std::string& model, const std::string& version)
    : families_(families), weight_family_(weight_bytes), model_(model), version_(version) {}

void ShadowSeries::Set(const std::optional<ModelGauges::Shadow>& values) {
  const prometheus::Labels labels = LabelsOf(kShadowSqnr, {model_, version_});
  const auto optional = [&](auto member) {
    return values ? std::optional<double>((*values).*member) : std::nullopt;
  };
  SetIf(weight_family_, LabelsOf(kWeightBytes, {model_, version_, "shadow"}),
        optional(&ModelGauges::Shadow::weight_bytes), weight_bytes_);
  SetIf(families_.sqnr, labels, values ? values->output_sqnr_db : std::nullopt, output_sqnr_);
  SetIf(families_.agreement, labels, values ? values->agreement : std::nullopt, agreement_);
  SetClipRatios(values ? values->clip_ratios : std::vector<std::pair<std::string, double>>());
  if (!values && counters_) {
    for (const CountedElsewhere& counted :
         {counters_->compared, counters_->passed_over, counters_->failed}) {
      families_.requests.Remove(counted.counter);
    }
    counters_.reset();
  }
  if (!values) return;
  if (!counters_) {
    const auto counter = [&](absl::string_view result) {
      return CountedElsewhere{
          &families_.requests.Add(LabelsOf(kShadowRequests, {model_, version_, result}))};
    };
    counters_ = Counters{counter("compared"), counter("passed_over"), counter("failed")};
  }
  counters_->compared.Advance(values->compared);
  counters_->passed_over.Advance(values->passed_over);
  counters_->failed.Advance(values->failed);
}

// Layers that are no longer among the worst lose their series.
void ShadowSeries::SetClipRatios(const std::vector<std::pair<std::string, double>>& ratios) {
  std::map<std::string, prometheus::Gauge*> before = std::exchange(clip_ratios_, {});
  for (const auto& [layer, ratio] : ratios) {
    prometheus::Gauge*& gauge = clip_ratios_[layer];
    const auto known = before.extract(layer);
    if (!known.empty()) gauge = known.mapped();
    if (gauge == nullptr) {
      gauge = &families_.clip_ratio.Add(LabelsOf(kShadowClipRatio, {model_, version_, layer}));
    }
    gauge->Set(ratio);
  }
  for (const auto& [layer, gauge] : before) families_.clip_ratio.Remove(gauge);
}

}  // namespace octet::server
