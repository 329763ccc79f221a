#include "server/engine/run_times.h"

#include <algorithm>
#include <chrono>

#include "base/status.h"

namespace octet::server {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

absl::StatusOr<std::vector<double>> MeasureRuns(runtime::PlanRunner& runner,
                                                const std::vector<Tensor>& inputs, double seconds) {
  constexpr size_t kMinRuns = 10;
  std::vector<double> runs;
  for (const Clock::time_point start = Clock::now();
       runs.size() < kMinRuns || SecondsSince(start) < seconds;) {
    const Clock::time_point begin = Clock::now();
    OCTET_RETURN_IF_ERROR(runner.Load(inputs));
    OCTET_RETURN_IF_ERROR(runner.bound().Run());
    runs.push_back(SecondsSince(begin));
  }
  std::sort(runs.begin(), runs.end());
  return runs;
}

}  // namespace octet::server
