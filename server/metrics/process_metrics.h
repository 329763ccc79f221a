// The series that speak of the process rather than of a model.

#pragma once

#include "base/mutex.h"
#include "server/metrics/metric_families.h"

namespace octet::server {

// Thread-safe.
class ProcessMetrics {
 public:
  explicit ProcessMetrics(prometheus::Registry& registry);

  // Reads memory and CPU time anew.
  void Update() ABSL_LOCKS_EXCLUDED(mutex_);

  void SetReady(bool ready) { ready_.Set(ready ? 1 : 0); }
  void SetCores(int cores) { cores_.Set(cores); }

 private:
  prometheus::Gauge& resident_;
  prometheus::Gauge& memory_limit_;
  prometheus::Counter& cpu_seconds_;
  prometheus::Gauge& cores_;
  prometheus::Gauge& ready_;
  Mutex mutex_;
  double counted_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace octet::server
