// Latencies in buckets that are one percent apart: as precise as a measurement, and bounded however
// long it takes.

#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace octet::server {

// Not thread-safe: one for each thread, merged in the end.
class LatencyHistogram {
 public:
  void Add(double seconds) { ++counts_[Bucket(seconds)]; }

  void Merge(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  }

  uint64_t count() const {
    uint64_t sum = 0;
    for (const uint64_t count : counts_) sum += count;
    return sum;
  }

  // Seconds within which the share `quantile` (0 to 1) of all latencies lies, within 1 %; 0 if
  // there are none.
  double Quantile(double quantile) const {
    const auto rank = static_cast<uint64_t>(std::ceil(quantile * static_cast<double>(count())));
    if (rank == 0) return 0;
    uint64_t below = 0;
    size_t bucket = 0;
    while ((below += counts_[bucket]) < rank) ++bucket;
    return kLeast * std::pow(kStep, static_cast<double>(bucket) + 0.5);
  }

 private:
  static constexpr double kLeast = 1e-6;  // seconds
  static constexpr double kStep = 1.01;
  static constexpr size_t kBuckets = 1900;  // to about 160 seconds

  static size_t Bucket(double seconds) {
    const double steps = std::log(std::max(seconds, kLeast) / kLeast) / std::log(kStep);
    return std::min(static_cast<size_t>(steps), kBuckets - 1);
  }

  std::array<uint64_t, kBuckets> counts_ = {};
};

}  // namespace octet::server
