// Series that come and go. Included by server/metrics alone.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "server/metrics/metric_families.h"
#include "server/metrics/metrics_registry.h"

namespace octet::server {

// Sets a series that is there while there is a value.
void SetIf(prometheus::Family<prometheus::Gauge>& family, const prometheus::Labels& labels,
           std::optional<double> value, prometheus::Gauge*& gauge);

struct ShadowFamilies {
  explicit ShadowFamilies(prometheus::Registry& registry);

  prometheus::Family<prometheus::Counter>& requests;
  prometheus::Family<prometheus::Gauge>& sqnr;
  prometheus::Family<prometheus::Gauge>& agreement;
  prometheus::Family<prometheus::Gauge>& clip_ratio;
};

// The series of one model that are there while requests are compared with float32; a successor may
// end or begin that. Not thread-safe.
class ShadowSeries {
 public:
  // The families outlive the series. `weight_bytes` is of kWeightBytes.
  ShadowSeries(ShadowFamilies& families, prometheus::Family<prometheus::Gauge>& weight_bytes,
               const std::string& model, const std::string& version);
  ~ShadowSeries() { Set(std::nullopt); }

  ShadowSeries(const ShadowSeries&) = delete;
  ShadowSeries& operator=(const ShadowSeries&) = delete;

  void Set(const std::optional<ModelGauges::Shadow>& values);

 private:
  // A counter whose count is somebody else's, who begins again at 0 when a successor takes over.
  struct CountedElsewhere {
    prometheus::Counter* counter;
    double seen = 0;

    void Advance(double count) {
      counter->Increment(count < seen ? count : count - seen);
      seen = count;
    }
  };
  struct Counters {
    CountedElsewhere compared, passed_over, failed;
  };

  void SetClipRatios(const std::vector<std::pair<std::string, double>>& ratios);

  ShadowFamilies& families_;
  prometheus::Family<prometheus::Gauge>& weight_family_;
  const std::string model_, version_;
  std::optional<Counters> counters_;
  prometheus::Gauge* weight_bytes_ = nullptr;
  prometheus::Gauge* output_sqnr_ = nullptr;
  prometheus::Gauge* agreement_ = nullptr;
  std::map<std::string, prometheus::Gauge*> clip_ratios_;  // by layer
};

}  // namespace octet::server
