// Families of prometheus-cpp from rows of the catalog.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/metrics/catalog.h"

namespace octet::server {

inline prometheus::Family<prometheus::Counter>& CounterFamily(prometheus::Registry& registry,
                                                              const MetricDef& metric) {
  return prometheus::BuildCounter()
      .Name(std::string(metric.name))
      .Help(std::string(metric.help))
      .Register(registry);
}

inline prometheus::Family<prometheus::Gauge>& GaugeFamily(prometheus::Registry& registry,
                                                          const MetricDef& metric) {
  return prometheus::BuildGauge()
      .Name(std::string(metric.name))
      .Help(std::string(metric.help))
      .Register(registry);
}

inline prometheus::Family<prometheus::Histogram>& HistogramFamily(prometheus::Registry& registry,
                                                                  const MetricDef& metric) {
  return prometheus::BuildHistogram()
      .Name(std::string(metric.name))
      .Help(std::string(metric.help))
      .Register(registry);
}

// Pairs the catalog's label names with values, in order.
inline prometheus::Labels LabelsOf(const MetricDef& metric,
                                   const std::vector<absl::string_view>& values) {
  prometheus::Labels labels;
  for (size_t i = 0; i < metric.labels.size(); ++i) {
    labels.emplace(std::string(metric.labels[i]), std::string(values[i]));
  }
  return labels;
}

}  // namespace octet::server
