#include "server/metrics/process_metrics.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

namespace octet::server {
namespace {

double PageBytes() { return static_cast<double>(sysconf(_SC_PAGESIZE)); }

// Resident pages of this process; 0 where /proc does not say.
double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0, resident = 0;
  if (!(file >> total >> resident)) return 0;
  return resident * PageBytes();
}

// The container's limit, cgroup version 2, then 1, or the machine's memory if that is less: without
// a limit, version 2 says "max" and version 1 a number beyond every machine.
double MemoryLimitBytes() {
  double limit = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * PageBytes();
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    double bytes = 0;
    if (std::ifstream file(path); file >> bytes && bytes > 0) return std::min(limit, bytes);
  }
  return limit;
}

double CpuSeconds() {
  timespec time = {};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

ProcessMetrics::ProcessMetrics(prometheus::Registry& registry)
    : resident_(GaugeFamily(registry, kResidentBytes).Add({})),
      memory_limit_(GaugeFamily(registry, kMemoryLimit).Add({})),
      cpu_seconds_(CounterFamily(registry, kCpuSeconds).Add({})),
      cores_(GaugeFamily(registry, kCpuCores).Add({})),
      ready_(GaugeFamily(registry, kReady).Add({})) {}

void ProcessMetrics::Update() {
  resident_.Set(ResidentBytes());
  memory_limit_.Set(MemoryLimitBytes());
  const MutexLock lock(mutex_);
  const double seconds = CpuSeconds();
  cpu_seconds_.Increment(seconds - counted_seconds_);
  counted_seconds_ = seconds;
}

}  // namespace octet::server
